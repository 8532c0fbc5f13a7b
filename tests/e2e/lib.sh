# tests/e2e/lib.sh - what the end-to-end tests share. Source it with the folder
# of the programs as $1 and the sanitizers they have as $2. Everything lies in a folder of its own under TMPDIR,
# ports are chosen by the system, and only processes started here are killed.
set -euo pipefail

PATH=$1:$PATH
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
images=/usr/share/datasets/fashion-mnist
tmp=$(mktemp -d)
export TRIBUTARY_DIR=$tmp/fleet
# What takes a second takes so many with sanitizers.
slowness=1
case ${2-} in
*thread*) slowness=12 ;;
?*) slowness=4 ;;
esac
declare -A pid=()

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# What a test adds to the clean-up.
undo() {
    :
}

finish() {
    local code=$? name
    trap - EXIT
    for name in "${!pid[@]}"; do
        kill -9 "${pid[$name]}" 2>/dev/null || true
        wait "${pid[$name]}" 2>/dev/null || true
    done
    if [ "$code" -ne 0 ]; then
        tail -n 20 "$tmp/daemon.log" >&2 2>/dev/null || true
        for name in "$tmp"/client-0[0-2].log "$tmp"/[!cd]*.log; do
            [ ! -e "$name" ] || tail -n 5 -v "$name" >&2
        done
    fi
    undo
    rm -rf "$tmp"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# until_ok SECONDS COMMAND...: tries it every 20 ms.
until_ok() {
    local tries=$(($1 * slowness * 50))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "never came true: $*"
        sleep 0.02
    done
}

# expect_code CODE COMMAND...: its output goes to $tmp/out.
expect_code() {
    local want=$1 got=0
    shift
    "$@" >"$tmp/out" 2>&1 </dev/null || got=$?
    [ "$got" = "$want" ] ||
        fail "exit code $got instead of $want: $*: $(cat "$tmp/out")"
}

# expect_text TEXT: in what expect_code caught.
expect_text() {
    grep -qF -- "$1" "$tmp/out" ||
        fail "no \"$1\" in: $(cat "$tmp/out")"
}

# json_field KEY: its first value in JSON on standard input.
json_field() {
    sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\)\"\{0,1\}.*/\1/p" | head -n 1
}

# make_parts N: samples of the 10,000 test images for N clients, 330 each.
make_parts() {
    tributary data split "$images/t10k-images-idx3-ubyte.gz" --clients 30 \
        --dirichlet 1 --hold-out 300 --min-rows 200 -o "$tmp/all" >/dev/null
    mkdir "$tmp/parts"
    local i
    for ((i = 0; i < $1; i++)); do
        mv "$tmp/all/$(printf 'client-%02d' "$i")" "$tmp/parts/"
    done
    mv "$tmp/all/held-out" "$tmp/"
    rm -r "$tmp/all"
}

# job [LINE...]: a small job for three clients, with further lines.
job() {
    cat >"$tmp/job.yaml" <<'YAML'
name: small
data:
  set: pictures
  reader: idx
  scale: 1/255
loss: softmax_cross_entropy
batch: 32
cohort:
  target: 3
  minimum: 3
seed: 1
calibrate: held-out
YAML
    printf '%s\n' "evaluate: held-out" "$@" >>"$tmp/job.yaml"
}

# daemon [FLAG...]: starts the coordinator and waits until it answers.
daemon() {
    [ -d "$TRIBUTARY_DIR" ] || tributaryd init "$TRIBUTARY_DIR" >/dev/null
    tributaryd run "$@" >>"$tmp/daemon.log" 2>&1 &
    pid[daemon]=$!
    until_ok 20 running
}

running() {
    [ "$(tributaryd status --json | json_field running)" = true ]
}

# join NAME: enrols a client.
join() {
    tributaryd invite "$1" | tributary join - --home "$tmp/$1.home" >/dev/null
}

# client NAME: starts it over its part.
client() {
    tributary run --home "$tmp/$1.home" --data "pictures=$tmp/parts/$1" \
        >>"$tmp/$1.log" 2>&1 &
    pid[$1]=$!
}

# fleet N: enrols and starts client-00 to client-N-1.
fleet() {
    local i name
    for ((i = 0; i < $1; i++)); do
        name=$(printf 'client-%02d' "$i")
        join "$name"
        client "$name"
    done
}

# end_well NAME: SIGTERM, at which it must end with code 0.
end_well() {
    kill "${pid[$1]}"
    wait "${pid[$1]}" || fail "$1 ended with $?"
    unset "pid[$1]"
}

# kill_hard NAME: kill -9, and waits for its end.
kill_hard() {
    kill -9 "${pid[$1]}"
    wait "${pid[$1]}" 2>/dev/null || true
    unset "pid[$1]"
}

# network_hash: the last round's model of the newest run.
network_hash() {
    tributaryd watch --json | sed -n 's/.*"model": *"\([0-9a-f]*\)".*/\1/p' |
        tail -n 1
}

# sim_hash WORKERS [FLAG...]: the same job simulated.
sim_hash() {
    local workers=$1
    shift
    tributary-sim run "$tmp/job.yaml" --clients-data "$tmp/parts" \
        --workers "$workers" "$@" | sed -n 's/^model //p'
}

same() {
    [ -n "$2" ] && [ "$2" = "$3" ] || fail "$1: $2 is not $3"
}
