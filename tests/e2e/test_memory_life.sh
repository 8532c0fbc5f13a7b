# The coordinator's memory over the life of a run with a large model: its start,
# a round, a restart in the middle of it, aggregation, evaluation, and the end.
# Then that of an end that prunes and quantises a smaller one, whose new forms are
# made, measured and packed one after the other.
. "$(dirname "$0")/lib.sh"

n=3
bytes_of() { # WIDTH: of the hidden layer
    echo $((4 * (784 * $1 + $1 + $1 * 10 + 10)))
}
model=$(bytes_of 12000)
make_parts 1
tributaryd init "$TRIBUTARY_DIR" >/dev/null
bench-load members "$TRIBUTARY_DIR" $n
load_job() { # NAME WIDTH [LINE...]
    cat >"$tmp/$1.yaml" <<YAML
name: $1
model: {new: mlp:784-$2-10}
data: {set: load, reader: idx, scale: 1/255}
evaluate: held-out
cohort: {target: $n, minimum: $n}
YAML
    printf '%s\n' "${@:3}" >>"$tmp/$1.yaml"
}

# within HALVES WHAT: since the last call the peak was at most so many halves of
# a model, 32 MB and 32 KB a client.
within() {
    local kb bound=$((($1 * model / 2 + (32 << 20) + n * (32 << 10)) >> 10))
    kb=$(awk '/VmHWM/ {print $2}' "/proc/${pid[daemon]}/status")
    echo "$2: $kb kB, at most $bound kB"
    [ "$kb" -le $bound ] || fail "$2: $kb kB of memory, over $bound kB"
    echo 5 >"/proc/${pid[daemon]}/clear_refs"
}

daemon
load_job large 12000 "rounds: 2"
tributaryd start "$tmp/large.yaml" >/dev/null
within 5 "the start of the job"
coproc load { exec bench-load tributary "$TRIBUTARY_DIR" 0 $n 2>>"$tmp/load.log"; }
pid[load]=$load_PID
echo connect >&"${load[1]}"
one_is_in() {
    tributaryd status | grep -qE '^  round .*: [1-3] of '
}
until_ok 60 one_is_in
within 5 "until an update is in"
kill_hard daemon
daemon
committed() {
    tributaryd status --json | grep -q '"round": *2'
}
until_ok 120 committed
within 5 "a restart in the round, its aggregation and evaluation"
ended() {
    tributaryd watch "$1" --json | grep -q '"event": *"end"'
}
until_ok 120 ended large
within 5 "the second round and the end"

load_job small 5200 "rounds: 1" "calibrate: held-out" \
    "after: {prune: {kind: unstructured}, quantise: {kind: int8}, guard: {max_drop: 1}}"
model=$(bytes_of 5200)
tributaryd start "$tmp/small.yaml" >/dev/null
until_ok 120 ended small
within 5 "an end that prunes and quantises"
tributaryd models small | grep -q int8 || fail "nothing was quantised"
echo quit >&"${load[1]}"
wait "${pid[load]}" || fail "the clients ended with $?"
unset "pid[load]"
