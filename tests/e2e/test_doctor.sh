# doctor of both programs: all passed in a sound place; each thing that is broken
# is named, with how to fix it, and the exit code says so.
. "$(dirname "$0")/lib.sh"

# well COMMAND...: everything passed.
well() {
    expect_code 0 "$@"
    ! grep -q '^problem' "$tmp/out" || fail "$(cat "$tmp/out")"
    grep -qE '^[0-9]+ passed, 0 problems$' "$tmp/out" || fail "no sum"
}
# ill PROBLEM FIX COMMAND...: that, and how to fix it.
ill() {
    local problem=$1 fix=$2
    shift 2
    expect_code 7 "$@"
    grep -A 1 -E "^problem  $problem" "$tmp/out" | grep -qE "fix: .*$fix" ||
        fail "no problem \"$problem\" with fix \"$fix\": $(cat "$tmp/out")"
}

dir=$TRIBUTARY_DIR
ill 'folder: ' 'tributaryd init' tributaryd doctor
tributaryd init "$dir" >/dev/null
well tributaryd doctor
chmod 644 "$dir/keys/sign.key"
ill 'permissions: .*sign.key can be used by others \(mode 0644\)' \
    'chmod go= .*sign.key' tributaryd doctor
ill 'keys: .*sign.key: mode 0644' 'as said above' tributaryd doctor
chmod 600 "$dir/keys/sign.key"
mv "$dir.master-key" "$tmp/aside"
ill 'master key: ' 'backup' tributaryd doctor
mv "$tmp/aside" "$dir.master-key"
echo 'workers: many' >"$dir/settings.yaml"
ill 'settings: .*settings.yaml:1:10: workers' 'mend that line' \
    tributaryd doctor
rm "$dir/settings.yaml"
cp "$dir/certificate" "$tmp/aside"
truncate -s 100 "$dir/certificate"
ill 'keys: .*certificate: cut short' 'backup' tributaryd doctor
cp "$tmp/aside" "$dir/certificate"
cp "$dir/journal.sqlite" "$tmp/aside"
printf 'no journal' >"$dir/journal.sqlite"
ill 'journal: ' 'tributaryd check' tributaryd doctor
cp "$tmp/aside" "$dir/journal.sqlite"
touch -d '2090-01-01' "$dir/HEAD"
ill 'clock: it is behind' 'set it' tributaryd doctor
touch "$dir/HEAD"
(
    ulimit -n 512
    ill 'descriptors: 512' 'ulimit' tributaryd doctor
)
echo nonsense >"$dir/endpoints"
ill 'endpoints: ' 'delete it' tributaryd doctor
rm "$dir/endpoints"
well tributaryd doctor

daemon
well tributaryd doctor
grep -q '^passed   port: tcp://127' "$tmp/out" || fail "no port was tried"

ill 'folder: ' 'join' tributary doctor --home "$tmp/a.home"
join a
well tributary doctor --home "$tmp/a.home"
grep -q '^passed   handshake: ' "$tmp/out" || fail "no handshake"
mkdir -p "$tmp/parts/a"
client a
# What it says of modes can be copied to a shell.
odd="$tmp/it's a home"
cp -r "$tmp/a.home" "$odd"
chmod 755 "$odd"
chmod 644 "$odd/keys/sign.key"
ill 'keys: .*sign.key: mode 0644' 'as said above' tributary doctor --home "$odd"
sed -n 's/^ *fix: \(chmod go= .*\)/\1/p' "$tmp/out" >"$tmp/fix.sh"
[ "$(wc -l <"$tmp/fix.sh")" = 2 ] || fail "fixes: $(cat "$tmp/fix.sh")"
sh "$tmp/fix.sh"
well tributary doctor --home "$odd"

connected() {
    [ "$(tributaryd status --json | json_field connected)" = 1 ]
}
until_ok 20 connected # before that doctor would hold its folder
well tributary doctor --home "$tmp/a.home"
grep -q '^passed   agent: ' "$tmp/out" || fail "the agent was not asked"
kill_hard a
printf 'data: [a=%s, b=/nowhere]\n' "$tmp/parts" >"$tmp/a.home/settings.yaml"
ill 'data: b=/nowhere' 'NAME=PATH' tributary doctor --home "$tmp/a.home"
grep -q "^passed   data: a=$tmp/parts" "$tmp/out" || fail "no data set passed"
rm "$tmp/a.home/settings.yaml"
tributaryd revoke a >/dev/null
ill 'handshake: ' 'invite' tributary doctor --home "$tmp/a.home"
client a
until_ok 20 eval 'tributary status --home "$tmp/a.home" |
    grep -q "^not connected .*(not enrolled, or revoked)"'
ill 'agent: it runs and is not connected: .*revoked' 'log' \
    tributary doctor --home "$tmp/a.home"
kill_hard a
kill_hard daemon
ill 'port: ' 'start the coordinator' tributary doctor --home "$tmp/a.home"
sed -i 's|^endpoint:.*|endpoint: "tcp://no.such.host.invalid:7700"|' \
    "$tmp/a.home/federation"
ill 'name: ' 'resolver' tributary doctor --home "$tmp/a.home"
