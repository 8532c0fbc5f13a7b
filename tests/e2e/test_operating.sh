# What an operator has: a service manager that hears how the daemons are,
# settings that change at SIGHUP, logs that machines read, metrics.
. "$(dirname "$0")/lib.sh"

python3 "$top/tests/support/notified.py" "$tmp/notify" "$tmp/heard" &
pid[notified]=$!
until_ok 20 test -S "$tmp/notify"
export NOTIFY_SOCKET=$tmp/notify WATCHDOG_USEC=300000

heard() {
    grep -qF -- "$1" "$tmp/heard"
}
times_heard() {
    [ "$(grep -cF "$1" "$tmp/heard")" -ge "$2" ]
}
reload() {
    kill -HUP "${pid[daemon]}"
}

make_parts 3
job "rounds: 2" "model: {new: mlp:784-16-10}"
mkdir "$tmp/log"
tributaryd init "$TRIBUTARY_DIR" --if-missing >/dev/null
expect_code 4 tributaryd run --config "$tmp/settings.yaml"
expect_text "settings.yaml"
cat >"$tmp/settings.yaml" <<'YAML'
metrics: 127.0.0.1:0
log_format: json
log_file: log/fleet.log
workers: 2
YAML
daemon --config "$tmp/settings.yaml"
until_ok 20 heard 'READY=1'
until_ok 20 times_heard 'WATCHDOG=1' 3
NOTIFY_SOCKET='' fleet 3
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null

# Metrics: what promtool takes, with what has happened in it.
page=$(sed -n 's/^metrics //p' "$tmp/daemon.log")
python3 - "$page" >"$tmp/page" <<'PY'
import sys
import urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=10) as reply:
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    sys.stdout.write(reply.read().decode())
PY
if command -v promtool >/dev/null; then
    promtool check metrics <"$tmp/page" >"$tmp/out" 2>&1 ||
        fail "promtool: $(cat "$tmp/out")"
    [ ! -s "$tmp/out" ] || fail "promtool: $(cat "$tmp/out")"
fi
value() {
    awk -v name="$1 " 'index($0, name) == 1 { print $NF }' "$tmp/page"
}
same "accepted" "$(value tributary_updates_accepted_total)" 6
same "rounds" "$(value 'tributary_rounds_total{outcome="committed"}')" 2
same "clients" "$(value 'tributary_clients{state="enrolled"}')" 3
same "aggregations" \
    "$(value 'tributary_order_duration_seconds_count{kind="aggregate"}')" 2
head=$(value tributary_journal_sequence)
[ "$head" -gt 12 ] || fail "journal: $head rows"

# Logs: JSON lines that name run, round and client.
python3 - "$tmp/log/fleet.log" <<'PY'
import json
import sys
lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
accepted = [l for l in lines if l["event"] == "update_accepted"]
assert len(accepted) == 6, accepted
assert {l["client"] for l in accepted} == {f"client-0{i}" for i in range(3)}
assert {l["round"] for l in accepted} == {1, 2}
assert len({l["run"] for l in accepted}) == 1 and accepted[0]["run"]
ended = [l for l in lines if l["event"] == "run_ended"]
assert [l["outcome"] for l in ended] == ["done"], ended
PY

# SIGHUP: the log file is opened again; a live setting changes, another waits;
# a broken file changes nothing.
mv "$tmp/log/fleet.log" "$tmp/log/fleet.log.1"
sed -i 's/json/logfmt/; s/workers: 2/workers: 3/' "$tmp/settings.yaml"
reload
log=$tmp/log/fleet.log
until_ok 20 grep -q 'event=reload result=done' "$log"
grep -q '"setting":"workers","result":"kept","why":"needs a restart"' \
    "$log.1" || fail "a restart is needed and not said"
until_ok 20 heard 'RELOADING=1' || fail "a reload is not told"
until_ok 20 times_heard 'READY=1' 2 || fail "the end of a reload is not told"
echo 'log_level: loud' >>"$tmp/settings.yaml"
reload
until_ok 20 grep -q 'settings.yaml:5:12: log_level.*settings="as before"' "$log"

# The client, too.
end_well client-01
echo 'log_format: json' >"$tmp/client-01.home/settings.yaml"
: >"$tmp/client-01.log"
client client-01
until_ok 20 heard 'STATUS=client-01: '
until_ok 20 grep -q '^{.*"event":"connected"' "$tmp/client-01.log"
kill -HUP "${pid[client-01]}"
until_ok 20 grep -q '"event":"reload","result":"done"' "$tmp/client-01.log"

end_well daemon
until_ok 20 heard 'STOPPING=1'
