# Garbage at both ports while a job runs: nobody gets in, the job ends as ever.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 4" "model: {new: mlp:784-16-10}"
daemon
fleet 3
tributaryd status --json >"$tmp/status"
ports=$(grep endpoint "$tmp/status" | grep -o ':[0-9]*"' | tr -d ':"')
[ "$(wc -w <<<"$ports")" = 2 ] || fail "no ports in $(cat "$tmp/status")"

# shout PORT: half a greeting, a web request, and 3 MB of noise.
shout() {
    local what
    for what in "head -c 10 /dev/zero" "printf GET\ /\ HTTP/1.1\r\n\r\n" \
        "head -c 3000000 /dev/urandom"; do
        { $what >"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || true
    done
}
tributaryd start "$tmp/job.yaml" >/dev/null
for _ in 1 2 3 4 5; do
    for port in $ports; do
        shout "$port"
    done
done
tributaryd watch >/dev/null
same "model" "$(sim_hash 1)" "$(network_hash)"
same "connected" 3 "$(tributaryd status --json | json_field connected)"
