# The coordinator's memory with 300 clients in one cohort, and what it does when
# it may open fewer files than there are clients.
. "$(dirname "$0")/lib.sh"

n=300
model=$((4 * (784 * 31 + 31 + 31 * 10 + 10)))
tributaryd init "$TRIBUTARY_DIR" >/dev/null
bench-load members "$TRIBUTARY_DIR" $n
cat >"$tmp/job.yaml" <<YAML
name: load
model: {new: mlp:784-31-10}
data: {set: load, reader: idx}
rounds: 1
cohort: {target: $n, minimum: $n}
YAML

# say WORD: to the clients; hear WORD: that all of them have done it.
say() {
    echo "$1" >&"${load[1]}"
}
hear() {
    local line
    read -r -t $((60 * slowness)) line <&"${load[0]}" ||
        fail "the clients never said: $1"
    [[ $line == "$1 $n "* ]] || fail "$line instead of $1 $n"
}

daemon
coproc load { exec bench-load tributary "$TRIBUTARY_DIR" 0 $n 2>>"$tmp/load.log"; }
pid[load]=$load_PID
say connect
hear connect
tributaryd start "$tmp/job.yaml" >/dev/null
hear update
until_ok 30 sh -c 'tributaryd watch --json | grep -q "\"in\": *'$n'"'
bound=$(((5 * model / 2 + (32 << 20) + n * (32 << 10)) >> 10))
kb=$(awk '/VmHWM/ {print $2}' "/proc/${pid[daemon]}/status")
echo "coordinator with $n clients: $kb kB, at most $bound kB"
[ "$kb" -le $bound ] || fail "$kb kB of memory, over $bound kB"
say quit
wait "${pid[load]}" || fail "the clients ended with $?"
unset "pid[load]"
kill_hard daemon

# With 200 files, 50 are kept back and 150 clients get in; the others are shut
# out, and the daemon goes on.
(
    ulimit -n 200
    exec tributaryd run >>"$tmp/daemon.log" 2>&1
) &
pid[daemon]=$!
until_ok 20 running
grep -q "event=room clients=150 open_files=200 kept_for_the_store=50" \
    "$tmp/daemon.log" || fail "the daemon does not say how many clients it takes"
coproc load { exec bench-load tributary "$TRIBUTARY_DIR" 0 $n 2>>"$tmp/load.log"; }
pid[load]=$load_PID
say connect
connected() {
    tributaryd status | sed -n 's/^clients .* \([0-9]*\) connected.*/\1/p'
}
until_ok 30 sh -c 'tributaryd status | grep -q " 1[0-5][0-9] connected"'
[ "$(connected)" -le 150 ] || fail "$(connected) clients are connected"
say quit
wait "${pid[load]}" || fail "the clients ended with $?"
unset "pid[load]"
