# Journal and HEAD of a stopped coordinator are put back together to an earlier
# time: the folder is sound in itself, and what the clients hold tells what is
# lost. A client that carries on under the epoch of a restore holds no receipt
# against it.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 2" "model: {new: mlp:784-16-10}"
receipts() {
    tributaryd check "$TRIBUTARY_DIR" --receipts "$tmp" "$@"
}
finding() {
    sed -n 's/^\(lost\|damaged\|harmless\) .*state: //p' "$tmp/out"
}

daemon
fleet 3
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
end_well daemon
mkdir "$tmp/aside"
cp "$TRIBUTARY_DIR/journal.sqlite" "$TRIBUTARY_DIR/HEAD" "$tmp/aside/"
receipts | grep -q "^3 receipts of clients hold"
before=$(receipts --json | json_field rows)

daemon
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
receipts | grep -q "^3 receipts of clients hold" # also while it runs
end_well daemon
rm -f "$TRIBUTARY_DIR"/journal.sqlite-*
cp "$tmp/aside/"* "$TRIBUTARY_DIR/"

tributaryd check >/dev/null || fail "it is not sound in itself"
expect_code 1 receipts
[ "$(finding | wc -l)" = 3 ] || fail "$(cat "$tmp/out")"
expect_text "and the journal ends with row $before"
expect_text "rows $((before + 1)) to"

# As it says: backed up and restored it is a new epoch, which makes no secret of
# what was lost. Clients follow, and hold nothing against it.
tributaryd backup "$TRIBUTARY_DIR" "$tmp/backup" >/dev/null
mv "$TRIBUTARY_DIR" "$tmp/old"
tributaryd restore "$tmp/backup" "$TRIBUTARY_DIR" >/dev/null
receipts | grep -q "^0 receipts of clients hold; 3 are of a time"
daemon
tributaryd start "$tmp/job.yaml" --rounds 50 >/dev/null
followed() {
    receipts | grep -q "^3 receipts of clients hold; 0 are of a time"
}
until_ok 60 followed
