# The coordinator changes its keys while a run goes on: clients are led to the
# new doors, the run ends in the same model, the old doors close. Killed at each
# step it comes back, and so do the clients.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 5" "model: {new: mlp:784-100-10}"
daemon
fleet 3
mv "$TRIBUTARY_DIR/keys/root.key" "$tmp/root.key" # offline
one=$(sim_hash 2 --rounds 1)

endpoint() {
    tributaryd status --json | json_field endpoint
}
in_round() {
    local n
    n=$(tributaryd status --json | json_field round)
    [ "${n:-0}" -ge "$1" ]
}
moved() { # clients that were welcomed under the endpoint of now
    local n
    n=$(grep -l "^endpoint: \"\{0,1\}$(endpoint)" "$tmp"/client-0?.home/federation |
        xargs -r grep -L endpoint_before | wc -l)
    [ "$n" = "$1" ]
}
rounds() {
    tributaryd start "$tmp/job.yaml" --rounds 1 >/dev/null
    tributaryd watch >/dev/null
    same "$1" "$one" "$(network_hash)"
}

# The root key must be the federation's own, and be there.
expect_code 4 tributaryd rotate
expect_text "name its file with --root-key"
tributaryd init "$tmp/foreign" >/dev/null
expect_code 3 tributaryd rotate --root-key "$tmp/foreign/keys/root.key"
expect_text "another federation"
expect_code 4 tributaryd rotate --finish
before=$(endpoint)

tributaryd start "$tmp/job.yaml" >/dev/null
until_ok 60 in_round 2
kill -STOP "${pid[client-02]}" # it will hear of it later
tributaryd rotate --root-key "$tmp/root.key" >"$tmp/out"
expect_text "clients are told to come to"
[ "$(endpoint)" != "$before" ] || fail "the endpoint is the same"
until_ok 20 moved 2
expect_code 8 tributaryd rotate --root-key "$tmp/root.key"
expect_text "not finished"
kill -CONT "${pid[client-02]}"
tributaryd watch >/dev/null
same "rotated: model" "$(sim_hash 2)" "$(network_hash)"
until_ok 20 moved 3
tributary pull small --home "$tmp/client-01.home" >/dev/null

# Killed in the overlap: both pairs of doors are there again.
new=$(endpoint)
kill_hard daemon
daemon
same "endpoint" "$new" "$(endpoint)"
rounds "killed in the overlap"
join client-03 # by the new enrolment door
tributaryd clients | grep -q client-03 || fail "no client-03"

cp -r "$TRIBUTARY_DIR/keys" "$TRIBUTARY_DIR/certificate" "$tmp/"
cp "$TRIBUTARY_DIR/endpoints" "$tmp/"
! grep -q ":${new##*:}$" "$tmp/endpoints" || fail "the new doors stand there early"
tributaryd rotate --finish >/dev/null
same "endpoint" "$new" "$(endpoint)"
# Nobody listens behind the old door.
! { true >"/dev/tcp/127.0.0.1/${before##*:}"; } 2>/dev/null ||
    fail "the old door is open"
rounds "the old doors closed"
[ ! -e "$TRIBUTARY_DIR/keys/next-curve.key" ] || fail "keys left over"

# Killed behind the row of the finish, before the files were put right, and
# between two of them: played by putting them back.
for there in next-sign.key next-curve.key; do
    kill_hard daemon
    cp "$tmp/certificate" "$TRIBUTARY_DIR/"
    cp "$tmp/keys/next-curve.key" "$TRIBUTARY_DIR/keys/"
    cp "$tmp/keys/curve.key" "$TRIBUTARY_DIR/keys/"
    if [ "$there" = next-sign.key ]; then
        cp "$tmp/keys/next-sign.key" "$tmp/keys/sign.key" "$TRIBUTARY_DIR/keys/"
        cp "$tmp/endpoints" "$TRIBUTARY_DIR/"
    fi
    daemon
done
[ ! -e "$TRIBUTARY_DIR/keys/next-curve.key" ] || fail "keys left over"
same "endpoint" "$new" "$(endpoint)"
rounds "after a restart"

# The overlap ends by itself; a client that was away meanwhile is lost, and says
# why. What was published under the old keys is still good.
kill_hard client-00
tributaryd rotate --root-key "$tmp/root.key" --overlap 1s >/dev/null
closed() {
    grep -c event=keys_rotated "$tmp/daemon.log" | grep -q 2
}
until_ok 70 closed
until_ok 20 moved 2
tributary predict small "$tmp/held-out" --count 1 --home "$tmp/client-01.home" \
    >/dev/null
