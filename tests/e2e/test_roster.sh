# The members of one coordinator, taken over by another of the same root: they
# are led there and train as before. Again changes nothing; another root's
# roster, and an altered one, are refused.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 2" "model: {new: mlp:784-16-10}"
daemon
fleet 3
want=$(sim_hash 2)
tributaryd label client-00 site=lyon tag=a tag=b >/dev/null
tributary rotate --home "$tmp/client-01.home" >/dev/null
tributaryd invite gone | tributary join - --home "$tmp/gone.home" >/dev/null
tributaryd revoke gone >/dev/null
twin() { # NAME OF: joins under the keys of another home
    mkdir -p "$tmp/$1.home"
    cp -r "$tmp/$2.home/keys" "$tmp/$1.home/"
    tributaryd invite "$1" | tributary join - --home "$tmp/$1.home" >/dev/null
}
twin again gone # comes before the revoked one of the same keys
tributaryd roster export "$tmp/members" # while the daemon runs
first=$TRIBUTARY_DIR
members() {
    tributaryd clients --json | grep -E '"(client|labels)"'
}
members >"$tmp/before"
kill_hard daemon
for i in 0 1 2; do
    kill_hard "client-0$i"
done
tributaryd roster export "$tmp/down" # and when it is down
same "exports" "$(sed '$d' "$tmp/down")" "$(sed '$d' "$tmp/members")"

# Another coordinator of the same root.
export TRIBUTARY_DIR=$tmp/second
tributaryd init "$TRIBUTARY_DIR" --root-key "$first/keys/root.key" >/dev/null
[ ! -e "$TRIBUTARY_DIR/keys/root.key" ] || fail "the root key was copied"
daemon
same "imported" "5 new, 0 known, 1 revoked" \
    "$(tributaryd roster import "$tmp/members")"
same "again" "0 new, 5 known, 0 revoked" \
    "$(tributaryd roster import "$tmp/members")"
rows=$(tributaryd status --json | json_field journal_rows)
tributaryd roster import "$tmp/members" >/dev/null
same "rows" "$rows" "$(tributaryd status --json | json_field journal_rows)"
members >"$tmp/after"
cmp "$tmp/before" "$tmp/after" || fail "other members"
tributaryd clients --json | grep -A1 '"gone"' | grep -q revoked ||
    fail "gone is not revoked"

# The clients do not know it yet: the root key's word leads them.
client client-00
refused() {
    grep -qE "nobody answers|handshake failed" "$tmp/client-00.log"
}
until_ok 20 refused
kill_hard client-00
tributaryd place "$tmp/here.move" --root-key "$first/keys/root.key" >/dev/null
for i in 0 1 2; do
    tributary move "$tmp/here.move" --home "$tmp/client-0$i.home" >/dev/null
    client "client-0$i"
done
kill_hard daemon # what was imported outlives it
daemon
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
same "model" "$want" "$(network_hash)"

# The same name with other keys; nothing is changed then.
rows=$(tributaryd status --json | json_field journal_rows)
tributary rotate --home "$tmp/client-00.home" >/dev/null
expect_code 5 tributaryd roster import "$tmp/members"
expect_text "client-00 is a member here with other keys"

# Keys that another member has here; the daemon outlives it.
kill_hard daemon
export TRIBUTARY_DIR=$tmp/third
tributaryd init "$TRIBUTARY_DIR" --root-key "$first/keys/root.key" >/dev/null
daemon
twin other client-02
expect_code 5 tributaryd roster import "$tmp/members"
expect_text "client client-02 has the keys of other, a member here"
same "clients" 1 "$(tributaryd clients --json | grep -c '"client"')"

# Altered; cut; and of another root.
sed 's/site=lyon/site=nice/' "$tmp/members" >"$tmp/altered"
expect_code 6 tributaryd roster import "$tmp/altered"
expect_text "altered since it was exported"
head -n 3 "$tmp/members" >"$tmp/cut"
expect_code 3 tributaryd roster import "$tmp/cut"
kill_hard daemon
export TRIBUTARY_DIR=$tmp/foreign
daemon
expect_code 6 tributaryd roster import "$tmp/members"
expect_text "not of this federation"
tributaryd place "$tmp/there.move" >/dev/null
kill_hard client-00
expect_code 6 tributary move "$tmp/there.move" --home "$tmp/client-00.home"
