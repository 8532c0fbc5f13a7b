#!/usr/bin/env bash
# units BUILD: what systemd itself says of the units that get installed: no
# unknown setting, and an exposure of at most 1.2 of 10. 77: no systemd here.
set -euo pipefail
command -v systemd-analyze >/dev/null || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() {
    echo "units: $*" >&2
    exit 1
}

cmake --install "$1" --prefix "$folder/usr" >"$folder/log" || fail "install"
for unit in tributaryd tributary; do
    file=$folder/usr/lib/systemd/system/$unit.service
    [ -s "$file" ] || fail "no $unit.service"
    systemd-analyze security --offline=true --no-pager --threshold=12 \
        "$file" >"$folder/out" 2>&1 || {
        grep -a '✗' "$folder/out"
        fail "$unit.service: $(tail -n 1 "$folder/out")"
    }
    ! grep -aE 'Unknown|Failed to parse|ignoring' "$folder/out" ||
        fail "$unit.service: systemd does not understand it"
    tail -n 1 "$folder/out"
done
grep -q '^u tributaryd ' "$folder/usr/lib/sysusers.d/tributary.conf" ||
    fail "no users"
