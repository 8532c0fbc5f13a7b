#!/bin/bash
# Makes async.tar.gz, beside folder.tar.gz and for the same end: a coordinator's
# folder as kill -9 left it in an asynchronous run, with a buffer that is half
# full and an older configuration whose updates may still come.
# tests/golden/folder/make_async.sh BUILD/bin
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../e2e/lib.sh"

make_parts 2
job "rounds: 6" "model: {new: mlp:784-6-10}" "mode: async" "buffer: 2" \
    "max_staleness: 4"
# Two clients do, and no path of this machine is in it.
sed -i -e 's/: 3$/: 2/' -e '/held-out/d' "$tmp/job.yaml"
daemon --keep-updates
fleet 2
all_here() {
    [ "$(tributaryd status --json | json_field connected)" = 2 ]
}
half_full() {
    tributaryd status --json >"$tmp/status"
    [ "$(json_field accepted <"$tmp/status")" = 1 ] &&
        [ "$(json_field round <"$tmp/status")" -ge 2 ]
}
until_ok 20 all_here
tributaryd start "$tmp/job.yaml" >/dev/null
# Stopped in some round but the first, before it is full.
until_ok 60 eval 'kill -CONT ${pid[client-01]}; sleep 0.05;
    kill -STOP ${pid[client-01]}; sleep 0.2; half_full'
kill_hard daemon
kill_hard client-00
kill_hard client-01
tributaryd check "$TRIBUTARY_DIR"

find "$tmp/fleet" "$tmp"/*.home -type s -delete
tar -C "$tmp" --owner 0 --group 0 --numeric-owner --sort name \
    --exclude '*-shm' --exclude LOCK -czf "$here/async.tar.gz" \
    fleet fleet.master-key client-00.home client-01.home job.yaml
ls -l "$here/async.tar.gz"
