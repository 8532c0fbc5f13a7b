# A client killed with its update half sent: the round goes on without it, and
# when it comes back it sends the very same bytes on.
. "$(dirname "$0")/lib.sh"

make_parts 3
# Wide enough that an upload takes a while.
job "rounds: 3" "model: {new: mlp:784-1000-1000-10}" "deadline: 120s"
daemon --keep-updates
fleet 3

sealed() {
    [ -n "$(ls "$tmp/client-01.home/sealed")" ]
}
tributaryd start "$tmp/job.yaml" --cohort-minimum 2 --deadline $((5 * slowness))s >/dev/null
until_ok 60 sealed
kill_hard client-01
client client-01
tributaryd watch >"$tmp/rounds"
cat "$tmp/rounds"
same "rounds" 3 "$(grep -c '^round' "$tmp/rounds")"

# Never back: the round closes with the others.
tributaryd start "$tmp/job.yaml" --cohort-minimum 2 --deadline $((5 * slowness))s \
    --rounds 1 >/dev/null
until_ok 60 sealed
kill_hard client-01
tributaryd watch >"$tmp/rounds"
grep -Eq 'in [23]/3' "$tmp/rounds" || fail "$(cat "$tmp/rounds")"
same "replay" "$(network_hash)" \
    "$(tributaryd replay --json | json_field hash)"
