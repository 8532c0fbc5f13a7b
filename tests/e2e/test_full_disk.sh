# A disk that fills up under the spool: the coordinator says so and waits, and
# when there is room again the run goes on and loses nothing. Needs root, for a
# small file system of its own.
. "$(dirname "$0")/lib.sh"

mkdir "$tmp/small"
mount -t tmpfs -o size=6m tmpfs "$tmp/small" 2>/dev/null || {
    echo "skipped: cannot mount a small file system"
    exit 77
}
undo() {
    umount -l "$tmp/small"
}
export TRIBUTARY_DIR=$tmp/small/fleet

make_parts 3
job "rounds: 2" "model: {new: mlp:784-200-200-10}"
daemon
fleet 3
# Room for less than the three updates of 0.8 MB: without --force the job would
# not begin.
head -c 3200000 /dev/zero >"$tmp/small/ballast"
tributaryd start "$tmp/job.yaml" --force >/dev/null
waits() {
    tributaryd status | grep "the disk is full: free some space"
}
until_ok 60 waits
kill -0 "${pid[daemon]}" || fail "the coordinator gave up"
rm "$tmp/small/ballast"
tributaryd watch >/dev/null
same "model" "$(sim_hash 1)" "$(network_hash)"
