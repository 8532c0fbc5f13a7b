# Members rotate their keys while a run goes on: it ends in the same model, and
# the old keys open nothing any more. Killed at any step, a member comes back.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 5" "model: {new: mlp:784-100-10}"
daemon
fleet 3
cp -r "$tmp/client-00.home/keys" "$tmp/keys.old"

in_round() {
    local n
    n=$(tributaryd status --json | json_field round)
    [ "${n:-0}" -ge "$1" ]
}
in_use() { # rows of ROTATED in use, as the daemon logs them
    [ "$(grep -c event=rotated "$tmp/daemon.log")" -ge "$1" ]
}
tributaryd start "$tmp/job.yaml" >/dev/null
for round in 1 2 3; do
    until_ok 60 in_round "$round"
    tributary rotate --home "$tmp/client-00.home" >/dev/null
done
tributary rotate --home "$tmp/client-01.home" >/dev/null
tributaryd watch >/dev/null
same "rotated four times: model" "$(sim_hash 2)" "$(network_hash)"
until_ok 10 in_use 4
[ ! -e "$tmp/client-00.home/keys/next-sign.key" ] || fail "keys left over"
cmp -s "$tmp/keys.old/sign.key" "$tmp/client-00.home/keys/sign.key" &&
    fail "the key is the old one"

# rounds: one more run that all three take part in.
rounds() {
    tributaryd start "$tmp/job.yaml" --rounds 1 >/dev/null
    tributaryd watch >/dev/null
    same "$1" "$one" "$(network_hash)"
}
stop() {
    kill_hard client-00
    keys=$tmp/client-00.home/keys
}
one=$(sim_hash 2 --rounds 1)

# The old keys open nothing.
stop
mv "$keys" "$tmp/keys.new"
cp -r "$tmp/keys.old" "$keys"
before=$(tributaryd status --json | json_field denied)
client client-00
more_denied() {
    [ "$(tributaryd status --json | json_field denied)" -gt "$before" ]
}
until_ok 10 more_denied
stop
rm -r "$keys"
mv "$tmp/keys.new" "$keys"

# Killed while the keys were drawn, and while they were put in place.
cp "$keys/sign.key" "$keys/next-sign.key"
client client-00
rounds "drawn halfway"
[ ! -e "$keys/next-sign.key" ] || fail "keys left over"
stop
mv "$keys/curve.key" "$keys/next-curve.key"
cp "$tmp/keys.old/curve.key" "$keys/curve.key"
client client-00
rounds "put in place halfway"

# Killed when the coordinator had the new keys, before the answer came: with the
# old transport key still let in, and when it no longer is.
cp -r "$keys" "$tmp/keys.before"
tributary rotate --home "$tmp/client-00.home" >/dev/null
until_ok 10 in_use 5
lost_answer() { # puts the folder back to where only the proposal was there
    mv "$keys/sign.key" "$keys/next-sign.key"
    mv "$keys/curve.key" "$keys/next-curve.key"
    cp "$tmp/keys.before/sign.key" "$tmp/keys.before/curve.key" "$keys/"
}
stop
lost_answer
client client-00
rounds "the answer was lost"
[ ! -e "$keys/next-sign.key" ] || fail "keys left over"

# Without an agent the verb connects by itself; and by their age.
stop
tributary rotate --home "$tmp/client-00.home" >"$tmp/out"
expect_text "rotated: new keys"
touch -d "2 days ago" "$keys/sign.key"
tributary run --home "$tmp/client-00.home" --rotate-after 1d \
    --data "pictures=$tmp/parts/client-00" >>"$tmp/client-00.log" 2>&1 &
pid[client-00]=$!
until_ok 10 in_use 7
# Nobody waits for ever for a coordinator that is away. What was proposed stays.
kill_hard daemon
stop
expect_code 8 tributary rotate --home "$tmp/client-00.home"
expect_text "the coordinator has not answered for 20 s"
client client-00
# All of it outlives the coordinator.
daemon
rounds "after a restart"
