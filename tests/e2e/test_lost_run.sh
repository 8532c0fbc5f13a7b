# A run whose files are gone is given up, aloud, and the daemon lives on; what a
# crash left of an ended run is destroyed at the next start, unless it was kept.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 200" "model: {new: mlp:784-16-10}"
daemon
fleet 3

running_rounds() {
    local n
    n=$(tributaryd status --json | json_field round)
    [ "${n:-0}" -ge 2 ]
}
tributaryd start "$tmp/job.yaml" >/dev/null
until_ok 60 running_rounds
kill_hard daemon
rm "$TRIBUTARY_DIR"/runs/*.key
daemon
got=0
tributaryd watch >"$tmp/out" 2>&1 || got=$?
[ "$got" -ne 0 ] || fail "a run without its key came to an end"
expect_text "the run's files in runs/ are gone"

# The next one ends well; the crash comes before its key was destroyed.
tributaryd start "$tmp/job.yaml" --rounds 2 >/dev/null
key=$(ls "$TRIBUTARY_DIR"/runs/*.key)
cp "$key" "$tmp/key"
tributaryd watch >/dev/null
[ ! -e "$key" ] || fail "the key outlived its run"
kill_hard daemon
cp "$tmp/key" "$key"
daemon
[ ! -e "$key" ] || fail "a restart left the key of an ended run"

# One that was kept stays kept, whatever the next start is told.
kill_hard daemon
daemon --keep-updates
tributaryd start "$tmp/job.yaml" --rounds 2 >/dev/null
key=$(ls "$TRIBUTARY_DIR"/runs/*.key)
tributaryd watch >/dev/null
kill_hard daemon
daemon
[ -e "$key" ] || fail "a kept key was destroyed"
