# A member is revoked while a round is open: its next message is dropped, its
# socket shut, its handshakes refused; what it had acknowledged stays, or is
# purged, and then the model is the one that the others make without it.
. "$(dirname "$0")/lib.sh"

make_parts 6
mkdir "$tmp/later"
mv "$tmp/parts/client-04" "$tmp/parts/client-05" "$tmp/later"
# The fourth client has joined and is away, so that a round waits for it.
job "rounds: 1" "model: {new: mlp:784-100-10}" "cohort: {target: 4, minimum: 3}"
sed -i '/^cohort:$/,/^  minimum/d' "$tmp/job.yaml"
daemon --keep-updates
fleet 4

accepted() {
    [ "$(tributaryd status --json | json_field accepted)" = "$1" ]
}
ready() {
    [ "$(tributaryd status --json | json_field ready)" = "$1" ]
}
since() { # of an event in a log, on the clock of `date`
    echo $((($(date +%s%N) - $1) / 1000000))
}
denied() {
    tributaryd status --json | json_field denied
}
more_denied() {
    [ "$(denied)" -gt "$1" ]
}
shut() {
    grep -q "event=disconnected" "$tmp/client-00.log"
}
refused() {
    grep -q "does not know this client's key" "$tmp/client-00.log"
}

# The slow one: stopped as soon as it has the offer, so that the round stays
# open with three updates in.
until_ok 20 ready 4
kill -STOP "${pid[client-03]}"
tributaryd start "$tmp/job.yaml" >/dev/null
until_ok 60 accepted 3

before=$(denied)
begun=$(date +%s%N)
tributaryd revoke client-00 --purge >"$tmp/out"
expect_text "its update was taken out of the open round"
until_ok 5 shut
until_ok 5 refused
echo "revoked: socket shut and handshake refused after $(since "$begun") ms"
until_ok 5 more_denied "$before"
tributaryd clients --json | grep -A1 client-00 | grep -q revoked ||
    fail "$(tributaryd clients --json)"
accepted 2 || fail "$(tributaryd status)"
# In the order that counts: the row, then the answer; shut, then refused.
[ "$(grep -n event=disconnected "$tmp/client-00.log" | head -n 1 | cut -d: -f1)" -le \
    "$(grep -n "does not know" "$tmp/client-00.log" | head -n 1 | cut -d: -f1)" ] ||
    fail "$(cat "$tmp/client-00.log")"

# Killed while the round is open: the purged update is not added again.
kill_hard daemon
daemon --keep-updates
kill -CONT "${pid[client-03]}"
tributaryd watch >/dev/null
rm -r "$tmp/parts/client-00"
same "model" "$(sim_hash 2 --cohort-target 3)" "$(network_hash)"
same "replayed" "$(network_hash)" \
    "$(tributaryd replay | sed -n 's/^hash //p')"

# There is nothing to purge now, and no such member any more.
tributaryd revoke client-01 --purge >"$tmp/out"
expect_text "no update of it was in an open round"
expect_code 4 tributaryd revoke client-01
expect_text "no member client-01"

# The same of a buffer that is half full, in an asynchronous run: its update waits
# there, and is neither in the model nor in what replay makes of the spool.
rm -r "$tmp/parts/client-01"
mv "$tmp/later"/* "$tmp/parts"
for name in client-04 client-05; do
    join $name
    client $name
done
until_ok 20 ready 4
kill -STOP "${pid[client-03]}" "${pid[client-04]}"
job "rounds: 1" "model: {new: mlp:784-100-10}" "mode: async" "buffer: 3"
tributaryd start "$tmp/job.yaml" >/dev/null
until_ok 60 accepted 2
tributaryd revoke client-02 --purge >"$tmp/out"
expect_text "its update was taken out of the open round"
accepted 1 || fail "$(tributaryd status)"
kill_hard daemon
daemon --keep-updates
accepted 1 || fail "$(tributaryd status)"
kill -CONT "${pid[client-03]}" "${pid[client-04]}"
tributaryd watch >/dev/null
same "replayed without it" "$(network_hash)" \
    "$(tributaryd replay | sed -n 's/^hash //p')"
rm -r "$tmp/parts/client-02"
same "model without it" "$(sim_hash 2)" "$(network_hash)"
