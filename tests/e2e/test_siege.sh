# Everything hostile at once, while honest jobs run (siege.sh): half-open
# handshakes until the descriptors run out, knocking, trickled greetings, begun
# handshakes, a replayed connection, a key of nobody, and members that send
# garbage, fuzzed frames (SIEGE_MESSAGES of them arrive), endless messages, a claimed
# name and an upload that never goes on. The jobs end in the model that they
# have without them, nothing aborts, and memory stays under its bound.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/siege.sh"

want=${SIEGE_MESSAGES:-100000}
[ -z "${2:-}" ] || want=$((want / 10)) # sanitizers are slow
job "rounds: 3" "model: {new: mlp:784-100-10}" "cohort.over_selection: 1.3" \
    "cohort.patience: 20s"
siege_camp
enough() {
    [ "$(messages)" -ge "$1" ]
}

run_job
honest=$(network_hash)
same "in peace" "$(sim_hash 2)" "$honest"
siege_begin
until_ok 60 enough 1000
run_job
same "besieged" "$honest" "$(network_hash)"
until_ok $((60 + want / 500)) enough "$want"
run_job
same "besieged still" "$honest" "$(network_hash)"
kill -0 "${pid[daemon]}" || fail "the daemon is gone"
count=$(messages)
siege_end
echo "messages that came in: $count"
tributaryd status | grep -E "^(network|clients)"
tributaryd clients --json | grep -A6 '"twin"' | grep -q '"accepted": 0' ||
    fail "the twin counted"

# 2.5 models, 32 MB, and 32 KB for each of 384 connections.
model=$((4 * (784 * 100 + 100 + 100 * 10 + 10)))
bound=$(((5 * model / 2 + (32 << 20) + 384 * (32 << 10)) >> 10))
echo "memory: $(memory) KB, at most $bound KB"
[ -n "${2:-}" ] || [ "$(memory)" -le "$bound" ] || fail "$(memory) KB of memory"
