# Everything at once, while an honest job runs: half-open handshakes until the
# descriptors run out, knocking, trickled greetings, strangers' keys, members that
# send frames of every kind (SIEGE_FRAMES of them), endless messages, a claimed
# name and an upload that never goes on. The job ends in the model that it has
# without them, and nothing aborts; time and memory are printed. Not one of the
# tests: it wants a machine of its own.
#   bash tests/e2e/siege.sh build/gcc/bin
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 3" "model: {new: mlp:784-100-10}" "cohort.over_selection: 1.3" \
    "cohort.patience: 20s" "local_epochs: 10"
# So few descriptors that strangers can use them up.
ulimit -Sn 512
ulimit -Hn 512
daemon
fleet 3
for name in fuzzer endless loris twin; do
    join "$name"
done
tributaryd status --json >"$tmp/status"
ports=$(grep endpoint "$tmp/status" | grep -o ':[0-9]*"' | tr -d ':"')

memory() { # the most that the daemon ever held, in KB
    sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/${pid[daemon]}/status"
}
all_ready() {
    [ "$(tributaryd status --json | json_field ready)" -ge 3 ]
}
# timed: runs the job; its milliseconds in $took.
timed() {
    until_ok 60 all_ready
    local begun
    begun=$(date +%s%N)
    # Refused while no descriptor is left for its files: then it is said again.
    until_ok 30 tributaryd start "$tmp/job.yaml"
    tributaryd watch >/dev/null
    took=$((($(date +%s%N) - begun) / 1000000))
}
frames() {
    sed -n 's/^frames //p' "$tmp/fuzzer.out" | tail -n 1
}
besiege() { # NAME COMMAND...
    local name=$1
    shift
    "$@" >"$tmp/$name.out" 2>"$tmp/$name.log" &
    pid[$name]=$!
}
enough() {
    [ "$(frames)" -ge "$1" ]
}

timed
timed
usual=$took
honest=$(network_hash)
same "in peace" "$(sim_hash 2)" "$honest"
before=$(memory)

for port in $ports; do
    besiege "half-$port" siege "$port" half 600
    besiege "knock-$port" siege "$port" knock
    besiege "trickle-$port" siege "$port" trickle 50
done
besiege fuzzer flood "$tmp/fuzzer.home" fuzz
besiege endless flood "$tmp/endless.home" endless
besiege loris flood "$tmp/loris.home" loris pictures
# A stranger's key, and a member under another's name.
cp -r "$tmp/twin.home" "$tmp/stranger.home"
cp "$tmp/loris.home/keys/sign.key" "$tmp/stranger.home/keys/sign.key"
tributaryd init "$tmp/foreign" >/dev/null
cp "$tmp/foreign/keys/curve.key" "$tmp/stranger.home/keys/curve.key"
besiege stranger flood "$tmp/stranger.home" garbage
sed -i 's/^client: .*/client: client-00/' "$tmp/twin.home/federation"
besiege twin tributary run --home "$tmp/twin.home" \
    --data "pictures=$tmp/parts/client-00"
until_ok 60 enough 100
timed
besieged=$took
same "besieged" "$honest" "$(network_hash)"
until_ok $((20 + ${SIEGE_FRAMES:-5000} / 100)) enough "${SIEGE_FRAMES:-5000}"
timed
same "besieged again" "$honest" "$(network_hash)"
kill -0 "${pid[daemon]}" || fail "the daemon is gone"

grown=$(($(memory) - before))
for name in "${!pid[@]}"; do
    case $name in half-* | knock-* | trickle-*)
        kill "${pid[$name]}"
        wait "${pid[$name]}" || true
        unset "pid[$name]"
        cat "$tmp/$name.out"
        ;;
    esac
done
tributaryd status | grep -E "^(network|clients)"
echo "frames $(frames); memory grew by $grown KB"
echo "job: $usual ms in peace, $besieged and $took ms besieged"
tributaryd clients --json | grep -A6 '"twin"' | grep -q '"accepted": 0' ||
    fail "the twin counted"
