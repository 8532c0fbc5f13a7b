# SIGTERM in the middle of a round, with two updates in and half of the third:
# the daemon ends at once, takes the half out, seals the sum, and the next start
# goes on with it. A checkpoint that was altered is not used. The model has the
# same bits as if nobody had stopped.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 1" "model: {new: mlp:784-1000-1000-10}"
n_held=3000000 # of 7.2 MB
daemon
fleet 2
join client-02
direct=$(tributaryd status --json | json_field endpoint)

logged() {
    grep -qE -- "$1" "$tmp/daemon.log"
}
# Ends by itself, in 5 s and with code 0.
stop_softly() {
    local from=$SECONDS
    end_well "$1"
    [ $((SECONDS - from)) -le 5 ] ||
        fail "$1 took $((SECONDS - from)) s to stop"
}
checkpoint() {
    echo "$TRIBUTARY_DIR"/checkpoints/*.sum
}
dial() {
    sed -i "s|^endpoint:.*|endpoint: \"$1\"|" \
        "$tmp/client-02.home/federation"
    client client-02
}
accepted() {
    [ "$(tributaryd status --json | json_field accepted)" = "$1" ]
}
half_way() {
    grep -q held "$tmp/relay.out" && accepted 2
}

relay "$direct" "$n_held" >"$tmp/relay.out" &
pid[relay]=$!
until_ok 10 test -s "$tmp/relay.out"
dial "$(head -n 1 "$tmp/relay.out")"
tributaryd start "$tmp/job.yaml" >/dev/null
until_ok 60 half_way
stop_softly daemon
at='run=[0-9a-f]{32} round=1 updates='
logged "event=checkpoint result=sealed ${at}2" || fail "no checkpoint"
[ "$(stat -c %s "$(checkpoint)")" -gt 14000000 ] || fail "not the whole sum"
! grep -aq client-00 "$(checkpoint)" || fail "a checkpoint that is not sealed"

tributaryd check | grep -q " 1 checkpoints hold" || fail "check: no checkpoint"

# client-02 stops as well, in the middle of its upload.
stop_softly client-02
kill_hard relay

# One bit of its middle; then as it was: it still fits the journal.
file=$(checkpoint)
cp "$file" "$tmp/good"
python3 - "$file" <<'PY'
import sys
path = sys.argv[1]
data = bytearray(open(path, "rb").read())
data[len(data) // 2] ^= 1
open(path, "wb").write(data)
PY
expect_code 1 tributaryd check
expect_text "the checkpoint of round 1"
daemon
logged "event=checkpoint result=ignored ${at}0 why=\"checkpoint .* does not" ||
    fail "an altered checkpoint was used"
until_ok 20 accepted 2
stop_softly daemon

cp "$tmp/good" "$file"
: >"$tmp/daemon.log"
daemon
logged "event=checkpoint result=used ${at}2" || fail "no checkpoint was used"
dial "$direct"
tributaryd watch >/dev/null
same "stopped twice" "$(sim_hash 2)" "$(network_hash)"
[ ! -e "$(checkpoint)" ] || fail "a checkpoint outlived its round"

for name in client-00 client-01 client-02 daemon; do
    stop_softly "$name"
done
