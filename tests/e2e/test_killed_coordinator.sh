# The coordinator killed with -9 again and again: the run goes on in the same
# rounds and ends in the same model as one that nobody killed.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 6" "model: {new: mlp:784-16-10}"
daemon
fleet 3
tributaryd start "$tmp/job.yaml" >/dev/null

done_rounds() {
    local n
    n=$(tributaryd status --json | json_field round)
    [ "${n:-0}" -ge "$1" ]
}
for round in 2 3 5; do
    until_ok 60 done_rounds "$round"
    kill_hard daemon
    daemon
done
tributaryd watch >/dev/null
same "killed three times" "$(sim_hash 2)" "$(network_hash)"
