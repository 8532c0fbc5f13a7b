# tests/e2e/siege.sh - everything hostile at once, for test_siege.sh and for
# bench/siege. Source it after lib.sh: it starts a coordinator that may open few
# files, three honest clients, and members who are not. Strangers come from
# other addresses of the loopback than members do, but for those that knock and
# the one with a key of nobody: they come from next door to the honest ones.
# With SIEGE_RUN=COMMAND everybody hostile is started with it.

# So few descriptors that strangers can use them up.
ulimit -Sn 512
ulimit -Hn 512
fuzzers=8

# siege_camp: the honest fleet, and the homes of the others.
siege_camp() {
    make_parts 3
    daemon
    fleet 3
    local name i
    for name in endless garbage loris twin witness; do
        join "$name"
    done
    for ((i = 0; i < fuzzers; i++)); do
        join "fuzzer-$i"
    done
    tributaryd status --json >"$tmp/status"
    ports=$(grep endpoint "$tmp/status" | grep -o ':[0-9]*"' | tr -d ':"')
    # A stranger's key, and a member under another's name.
    cp -r "$tmp/twin.home" "$tmp/stranger.home"
    cp "$tmp/loris.home/keys/sign.key" "$tmp/stranger.home/keys/sign.key"
    tributaryd init "$tmp/foreign" >/dev/null
    cp "$tmp/foreign/keys/curve.key" "$tmp/stranger.home/keys/curve.key"
    sed -i 's/^client: .*/client: client-00/' "$tmp/twin.home/federation"
}

besiege() { # NAME COMMAND...
    local name=$1
    shift
    hostile+=("$name")
    ${SIEGE_RUN:-} "$@" >>"$tmp/$name.out" 2>"$tmp/$name.log" &
    pid[$name]=$!
}

# siege_begin: all of them at once.
siege_begin() {
    local port i
    hostile=()
    siege_replay "${ports%%[!0-9]*}"
    for port in $ports; do
        besiege "half-$port" siege "$port" half 600 127.0.1.1
        besiege "trickle-$port" siege "$port" trickle 50 127.0.2.1
        besiege "hello-$port" siege "$port" hello 1 127.0.3.1
        besiege "knock-$port" siege "$port" knock 1 127.0.0.1
        besiege "swarm-$port" siege "$port" swarm 64 127.0.7.1
    done
    FLOOD_FROM=127.0.4.1 besiege endless flood "$tmp/endless.home" endless
    FLOOD_FROM=127.0.4.2 besiege garbage flood "$tmp/garbage.home" garbage
    FLOOD_FROM=127.0.4.3 besiege loris flood "$tmp/loris.home" loris pictures
    FLOOD_FROM=127.0.0.1 besiege stranger flood "$tmp/stranger.home" garbage
    for ((i = 0; i < fuzzers; i++)); do
        FLOOD_FROM=127.0.5.$((i + 1)) besiege "fuzzer-$i" \
            flood "$tmp/fuzzer-$i.home" fuzz
    done
    besiege twin tributary run --home "$tmp/twin.home" \
        --data "pictures=$tmp/parts/client-00"
}

# What a member said is said again by somebody who listened on the wire.
siege_replay() { # PORT
    local wire
    besiege replay siege "$1" replay 1 127.0.6.1
    until_ok 20 grep -q . "$tmp/replay.out"
    wire=$(head -n 1 "$tmp/replay.out")
    cp -r "$tmp/witness.home" "$tmp/wired.home"
    sed -i "s/^\(endpoint: .*\):$1/\1:$wire/" "$tmp/wired.home/federation"
    rm -f "$tmp/witness.log" # that of the siege before
    tributary run --home "$tmp/wired.home" \
        --data "pictures=$tmp/parts/client-00" >"$tmp/witness.log" 2>&1 &
    pid[witness]=$!
    until_ok 60 grep -q event=connected "$tmp/witness.log"
    end_well witness
    rm -r "$tmp/wired.home"
    until_ok 20 grep -q recorded "$tmp/replay.out"
}

# siege_end: and what the strangers have done.
siege_end() {
    local name code
    for name in "${hostile[@]}"; do
        kill "${pid[$name]}" 2>/dev/null || fail "$name has gone by itself"
        code=0
        wait "${pid[$name]}" || code=$?
        [ "$code" = 0 ] || [ "$code" = 143 ] || fail "$name ended with $code"
        unset "pid[$name]"
        ! grep -h connections "$tmp/$name.out" || rm "$tmp/$name.out"
    done
}

# messages: those that came by the handshake, so far.
messages() {
    tributaryd status --json | json_field messages_in
}

memory() { # the most that the daemon ever held, in KB
    sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/${pid[daemon]}/status"
}

ready() {
    [ "$(tributaryd status --json | json_field ready)" -ge 3 ]
}

# run_job: starts the job and waits for its end; its milliseconds in $took.
run_job() {
    until_ok 60 ready
    local begun
    begun=$(date +%s%N)
    tributaryd start "$tmp/job.yaml" >/dev/null
    tributaryd watch >/dev/null
    took=$((($(date +%s%N) - begun) / 1000000))
}
