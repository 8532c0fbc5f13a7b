# An asynchronous job over the network: a slow client holds nobody up, its stale
# updates count less or are refused, and a coordinator killed with -9 goes on.
# Replay proves every buffer, and the model is about as good as in rounds.
. "$(dirname "$0")/lib.sh"

make_parts 4
rules=("model: {new: mlp:784-32-10}" "optimiser: {lr: 0.1}" "local_epochs: 2")
job "rounds: 40" "${rules[@]}" "mode: async" "buffer: 2" "max_staleness: 6"
sed -i 's/target: 3/target: 4/; s/minimum: 3/minimum: 2/' "$tmp/job.yaml"
daemon --keep-updates
fleet 4

# accepted FIELD: how many lines of the log say so.
accepted() {
    grep -c "event=update_accepted.*$1" "$tmp/daemon.log" || true
}
# accuracy: of the last round.
accuracy() {
    tributaryd watch --json |
        sed -n 's/.*"accuracy": *\(0[.0-9]*\).*/\1/p' | tail -n 1
}
rounds_done() {
    local n
    n=$(tributaryd status --json | json_field round)
    [ "${n:-0}" -ge "$1" ]
}

# tear: as if a kill had come into the write of an update for a buffer that has
# closed: two to five rounds ago, so that updates for it may still come.
tear() {
    local round n
    n=$(grep -c event=round_committed "$tmp/daemon.log")
    torn=
    for ((round = n - 1; round > 0 && round > n - 5; round--)); do
        torn=$(cat "$tmp"/client-*.log | sed -n \
            "s/.*accepted=yes config=\([0-9a-f]*\) .* round=$round\$/\1/p" |
            tail -n 1)
        [ -z "$torn" ] || break
    done
    torn=$(echo "$TRIBUTARY_DIR"/spool/*/"${torn:?no buffer has closed}")
    torn_from=$(stat -c %s "$torn")
    printf '%032d' 0 >>"$torn"
}
cut_off() {
    [ "$(tail -c +$((torn_from + 1)) "$torn" | head -c 32)" != \
        "$(printf '%032d' 0)" ] || fail "a torn tail is still there: $torn"
}

# One client sleeps while the others fill some buffers; the coordinator dies
# three times in between.
tributaryd start "$tmp/job.yaml" >/dev/null
until_ok 60 rounds_done 2
tributaryd status >"$tmp/out"
expect_text " of 2 updates in" # however many train for it
for round in 4 7 10; do
    kill -STOP "${pid[client-03]}"
    until_ok 60 rounds_done "$round"
    kill_hard daemon
    tear
    daemon --keep-updates
    cut_off
    kill -CONT "${pid[client-03]}"
    until_ok 60 rounds_done $((round + 2))
done
tributaryd watch >"$tmp/rounds"
[ "$(grep -c '^round.*in 2/2' "$tmp/rounds")" = 40 ] ||
    fail "not 40 buffers of 2: $(cat "$tmp/rounds")"
async=$(accuracy)
same "replay" "$(network_hash)" \
    "$(tributaryd replay --json | json_field hash)"
fresh=$(accepted 'weight=65536 staleness=0')
stale=$(accepted 'staleness=[1-6]')
[ "$stale" -gt 0 ] || fail "no stale update counted"
[ "$(accepted 'weight=46341 staleness=1')" -gt 0 ] || fail "a wrong weight"
echo "async: accuracy $async, $fresh fresh and $stale stale updates"

# Nothing stale is taken. The update of one is held on its way while there is
# no other to fill the buffer with; then the others go on, and it is late.
job "rounds: 8" "${rules[@]}" "mode: async" "buffer: 2" "max_staleness: 0"
sed -i 's/target: 3/target: 4/; s/minimum: 3/minimum: 2/' "$tmp/job.yaml"
direct=$(tributaryd status --json | json_field endpoint)
# dial ENDPOINT: client-03 finds the coordinator there.
dial() {
    kill_hard client-03
    sed -i "s|^endpoint:.*|endpoint: \"$1\"|" "$tmp/client-03.home/federation"
    client client-03
}
relay "$direct" 60000 >"$tmp/relay.out" & # an update has 102,000 bytes
pid[relay]=$!
until_ok 10 test -s "$tmp/relay.out"
dial "$(head -n 1 "$tmp/relay.out")"
all_here() {
    [ "$(tributaryd status --json | json_field ready)" = 4 ]
}
until_ok 20 all_here
kill -STOP "${pid[client-01]}" "${pid[client-02]}"
tributaryd start "$tmp/job.yaml" >/dev/null
until_ok 60 grep -q held "$tmp/relay.out"
kill -CONT "${pid[client-01]}" "${pid[client-02]}"
tributaryd watch >/dev/null
late=$(tributaryd status --json | json_field late)
[ "${late:-0}" -gt 0 ] || fail "nobody was late: $(tributaryd status --json)"
for name in client-00 client-01 client-02 client-03; do
    tributary status --home "$tmp/$name.home"
done >"$tmp/told"
grep -q 'max_staleness' "$tmp/told" || fail "no reason: $(cat "$tmp/told")"
same "replay" "$(network_hash)" \
    "$(tributaryd replay small --json | json_field hash)"

dial "$direct"
kill_hard relay

# The same number of updates in rounds.
job "rounds: 20" "${rules[@]}" "weights: uniform"
sed -i 's/target: 3/target: 4/; s/minimum: 3/minimum: 4/' "$tmp/job.yaml"
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
sync=$(accuracy)
echo "sync: accuracy $sync with as many updates, in rounds of 4"
awk -v a="$async" -v s="$sync" 'BEGIN { exit !(a > s - 0.1) }' ||
    fail "async $async is far below sync $sync"
same "uniform weights in rounds, simulated" "$(network_hash)" "$(sim_hash 2)"
