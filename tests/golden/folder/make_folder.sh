#!/bin/bash
# Makes folder.tar.gz: a coordinator's folder as kill -9 left it in the middle
# of a round, with its master key, the homes of its two clients, the job and the
# hash that its run must end in. Kept so that every later version is seen to
# open it (tests/e2e/test_upgrade.sh). Run it only when no released version
# wrote the old one: tests/golden/folder/make_folder.sh BUILD/bin
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../e2e/lib.sh"

make_parts 2
job "rounds: 3" "model: {new: mlp:784-6-10}" "publish: last"
# Two clients do, and no path of this machine is in it.
sed -i -e 's/: 3$/: 2/' -e '/held-out/d' "$tmp/job.yaml"
sed -i 's/^rounds: 2$/rounds: 3/' "$tmp/job.yaml"
daemon --keep-updates
fleet 2
tributaryd start "$tmp/job.yaml" --rounds 1 >/dev/null # becomes version 1
tributaryd watch >/dev/null

# A second run: in some round one client is frozen, the other one's update is in.
waits() {
    [ "$(tributaryd status --json | json_field accepted)" = 1 ]
}
tributaryd start "$tmp/job.yaml" --seed 2 >/dev/null
kill -STOP "${pid[client-01]}"
until_ok 60 waits
kill_hard daemon
kill_hard client-00
kill_hard client-01
sed 's/^seed: 1$/seed: 2/' "$tmp/job.yaml" >"$tmp/second.yaml"
mv "$tmp/second.yaml" "$tmp/job.yaml"
sim_hash 1 >"$tmp/model.hash"
tributaryd check "$TRIBUTARY_DIR"

find "$tmp/fleet" "$tmp"/*.home -type s -delete
tar -C "$tmp" --owner 0 --group 0 --numeric-owner --sort name \
    --exclude '*-shm' --exclude LOCK -czf "$here/folder.tar.gz" \
    fleet fleet.master-key client-00.home client-01.home job.yaml model.hash
ls -l "$here/folder.tar.gz"
