# A backup made while clients train, the coordinator gone some rounds later, and
# one restored from the backup: clients carry on under the new epoch, say what
# was lost, and the run ends in the bits of one that nobody touched.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 60" "model: {new: mlp:784-16-10}"
daemon --keep-updates
fleet 3
tributaryd start "$tmp/job.yaml" >/dev/null
master=$TRIBUTARY_DIR.master-key

done_rounds() {
    local n
    n=$(tributaryd status --json | json_field round)
    [ "${n:-0}" -ge "$1" ]
}

until_ok 60 done_rounds 2
tributaryd backup "$TRIBUTARY_DIR" "$tmp/backup" >/dev/null
at=$(tributaryd status --json | json_field round)
until_ok 60 done_rounds $((at + 2))
tributaryd backup "$TRIBUTARY_DIR" "$tmp/later" >/dev/null
kill_hard daemon
for copy in backup later; do
    tributaryd check "$tmp/$copy" --master-key "$master" >/dev/null
done

# Wrong input leaves nothing behind.
expect_code 5 tributaryd backup "$TRIBUTARY_DIR" "$tmp/later"
expect_text "name a new folder"
expect_code 4 tributaryd restore "$tmp/backup" "$tmp/fleet-2"
expect_text "name its file with --master-key"
expect_code 5 tributaryd restore "$tmp/backup" "$tmp/later" \
    --master-key "$master"
blob=$(find "$tmp/later/blobs" -path '*/raw' -prune -o -type f -print -quit)
printf x >>"$blob"
expect_code 3 tributaryd restore "$tmp/later" "$tmp/fleet-2" \
    --master-key "$master"
expect_text "nothing was restored"
expect_text "of small"
expect_code 1 tributaryd check "$tmp/later" --master-key "$master"
expect_text "mend"
[ ! -e "$tmp/fleet-2" ] && [ ! -e "$tmp/fleet-2.partial" ] ||
    fail "a restore that was refused left something behind"

# The old one is gone for good; the new one has its keys and its port.
old=$TRIBUTARY_DIR
export TRIBUTARY_DIR=$tmp/fleet-2 TRIBUTARY_MASTER_KEY=$master
expect_code 4 tributaryd restore "$tmp/none" "$TRIBUTARY_DIR"
expect_text "no folder of tributaryd"
expect_code 0 tributaryd restore "$tmp/backup" "$TRIBUTARY_DIR"
expect_text "epoch 1 begins with row"
tributaryd check "$TRIBUTARY_DIR" >/dev/null
daemon --keep-updates
tributaryd watch >/dev/null
same "restored" "$(sim_hash 2)" "$(network_hash)"
said() {
    tributary status --home "$tmp/client-00.home" --json | grep -q "$1"
}
said "restored from a backup (epoch 1, .*lost the update" ||
    fail "$(tributary status --home "$tmp/client-00.home")"
[ "$(tributaryd replay --json | json_field hash)" = "$(network_hash)" ] ||
    fail "replay after a restore gives another hash"
tributaryd check "$TRIBUTARY_DIR" >/dev/null

# A copy of the old epoch, started by mistake: no client works for it.
kill_hard daemon
export TRIBUTARY_DIR=$old
daemon
declined() {
    said "this coordinator is of epoch 0"
}
until_ok 60 declined
