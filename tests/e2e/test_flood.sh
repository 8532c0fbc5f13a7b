# A member that floods the coordinator while others train: it is cut off, the
# coordinator's memory stays within its bounds and its log does not grow with
# the flood; the run ends in the model that it would have without it.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 4" "model: {new: mlp:784-16-10}"
daemon
fleet 3
join rogue
honest=$(sim_hash 2)

memory() { # the most that the daemon ever held, in KB
    sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/${pid[daemon]}/status"
}

# Seen from the other end, which comes back; one that never reads does not even
# notice.
cut_off() {
    [ "$(grep -c cut "$tmp/flood.out")" -ge 2 ] ||
        grep -q "event=cut client=rogue.*reads too slowly" "$tmp/daemon.log"
}

tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
same "no flood" "$honest" "$(network_hash)"
before=$(memory)
most=65536
[ -z "${2:-}" ] || most=1048576 # sanitizers keep freed memory for a while
for what in garbage three oversized endless deaf; do
    rm -f "$tmp/flood.out"
    flood "$tmp/rogue.home" "$what" >"$tmp/flood.out" 2>"$tmp/flood.log" &
    pid[flood]=$!
    until_ok 60 cut_off
    tributaryd start "$tmp/job.yaml" >/dev/null
    tributaryd watch >/dev/null
    same "$what: model" "$honest" "$(network_hash)"
    kill_hard flood
    grown=$(($(memory) - before))
    logged=$(stat -c %s "$tmp/daemon.log")
    echo "$what: memory grew by $grown KB, log $logged bytes"
    [ "$grown" -lt "$most" ] || fail "$what: $grown KB"
    [ "$logged" -lt 1000000 ] || fail "$what: $logged bytes logged"
done
