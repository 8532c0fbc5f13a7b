#!/usr/bin/env bash
# systemd BUILD: the coordinator's unit as it is installed, hardening and all,
# under a true systemd in namespaces of its own: it says that it is ready, is
# reloaded, is started again when it gives no sign of life, and is stopped. 77:
# there is no systemd here, or it may not have namespaces.
set -euo pipefail
systemd=/lib/systemd/systemd
[ -x $systemd ] || exit 77
alone=(unshare --user --map-root-user --pid --mount --fork --net --cgroup
    --mount-proc --kill-child)
"${alone[@]}" mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || exit 77
build=$(realpath "$1")
folder=$(mktemp -d)
manager=
finish() {
    local code=$?
    trap - EXIT
    [ -z "$manager" ] || kill -9 "$manager" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT
fail() {
    echo "systemd: $*" >&2
    cat "$folder"/*.log >&2 2>/dev/null || true
    exit 1
}

cmake --install "$build" --prefix "$folder/usr" >/dev/null || fail "install"
unit=$folder/usr/lib/systemd/system/tributaryd.service
bin=$(sed -n 's|^ExecStart=\(.*\)/tributaryd .*|\1|p' "$unit")
mkdir -p "$bin" 2>/dev/null || exit 77

# What runs beside the unit and looks at it.
cat >"$folder/probe.sh" <<PROBE
shown() {
    systemctl show tributaryd -p "\$1" --value
}
until_shown() { # a watchdog's time, on a busy machine
    local tries=600
    until [ "\$(shown "\$1")" = "\$2" ]; do
        tries=\$((tries - 1))
        [ "\$tries" -gt 0 ] || { echo "\$1 is \$(shown "\$1"), not \$2"; return 1; }
        sleep 0.1
    done
}
{
    systemctl start tributaryd && until_shown ActiveState active &&
        shown StatusText | grep "no run" &&
        systemctl reload tributaryd && until_shown ActiveState active &&
        kill -STOP "\$(shown MainPID)" && until_shown NRestarts 1 &&
        until_shown ActiveState active &&
        systemctl stop tributaryd && until_shown ActiveState inactive &&
        until_shown Result success && echo all is well
} >"$folder/probe.log" 2>&1
touch "$folder/over"
PROBE

# The manager: only its own files are changed, in file systems of its own.
cat >"$folder/manager.sh" <<MANAGER
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /var/log
umount -l /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
mount --bind "$folder/usr/bin" "$bin"
mkdir -p /run/systemd/system/tributaryd.service.d
cp "$unit" /run/systemd/system/
cat >/run/systemd/system/tributaryd.service.d/test.conf <<UNIT
[Unit]
DefaultDependencies=no
[Service]
User=root
WatchdogSec=5
StandardError=file:$folder/unit.log
UNIT
cat >/run/systemd/system/probe.service <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash $folder/probe.sh
UNIT
cat >/run/systemd/system/probe.target <<UNIT
[Unit]
DefaultDependencies=no
Wants=probe.service
UNIT
exec env -i PATH="$PATH" container=other $systemd --system --unit=probe.target \
    --log-target=null
MANAGER
"${alone[@]}" bash "$folder/manager.sh" >"$folder/manager.log" 2>&1 &
manager=$!
for ((i = 0; i < 1200; i++)); do
    [ ! -e "$folder/over" ] || break
    kill -0 "$manager" 2>/dev/null || fail "the manager is gone"
    sleep 0.1
done
grep -q "all is well" "$folder/probe.log" || fail "it does not do as it should"
! grep -i "denied\|not supported" "$folder/unit.log" || fail "it is held too tight"
