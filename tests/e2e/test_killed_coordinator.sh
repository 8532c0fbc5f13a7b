# The coordinator killed with -9 again and again: the run goes on in the same
# rounds and ends in the same model as one that nobody killed.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 20" "model: {new: mlp:784-16-10}"
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

# Somebody has its port when it comes back, for a while: it waits, since that is
# where its clients look for it.
endpoint() {
    tributaryd status --json | json_field endpoint
}
before=$(endpoint)
kill_hard daemon
python3 - "${before##*:}" >"$tmp/lent" <<'PY' &
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", int(sys.argv[1])))
s.listen()
print("lent", flush=True)
time.sleep(600)
PY
pid[lender]=$!
until_ok 20 grep -q lent "$tmp/lent"
tributaryd run >>"$tmp/daemon.log" 2>&1 &
pid[daemon]=$!
until_ok 20 grep -q "in use by another program: waiting" "$tmp/daemon.log"
kill_hard lender
until_ok 20 running
same "endpoint" "$before" "$(endpoint)"
