# tests/kills/lib.sh - what the kill tests share. Source it with BIN SANITIZERS
# KILL_AT WHO [EVERY [FIRST]] as in kills.sh; set victim to the program whose
# calls are counted: every EVERY-th is a point, from the FIRST-th on.
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"

preload=$(realpath "$3")
who=$4
every=${5-1}
first=${6-1}
n_clients=3
margin=5
# Both stand behind our preloaded functions, not before them.
export ASAN_OPTIONS=${ASAN_OPTIONS-}:verify_asan_link_order=0

# nap SECONDS: without a process of its own.
exec {never}<> <(:)
nap() {
    read -rt "$1" -u "$never" || true
}

# alive PID: not gone, nor only waiting to be waited for: bash 5.2 may leave its
# own SIGCHLD blocked behind a `read -t`, and then reaps nobody by itself.
alive() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null && [[ ${stat##*) } != Z* ]]
}

# rows SEED N: points in three heaps, one row each.
rows() {
    awk -v seed="$1" -v n="$2" 'BEGIN {
        srand(seed)
        print "a,b,c,d,y"
        for (i = 0; i < n; i++) {
            y = int(rand() * 3)
            printf "%.4f,%.4f,%.4f,%.4f,%d\n",
                rand() + y, rand() - y, rand() * (y + 1), rand(), y
        }
    }'
}

# make_data: for three clients and an evaluation.
make_data() {
    local i
    for ((i = 0; i < n_clients; i++)); do
        rows "$i" 60 >"$tmp/client-0$i.csv"
    done
    rows 9 40 >"$tmp/held-out.csv"
}

# job_file NAME SEED [LINE...]: wide enough for an update of a head and two
# blocks.
job_file() {
    cat >"$tmp/$1.yaml" <<YAML
name: $1
model: {new: "mlp:4-256-256-3"}
data:
  set: numbers
  reader: csv
loss: softmax_cross_entropy
batch: 32
cohort:
  target: $n_clients
  minimum: $n_clients
seed: $2
evaluate: held-out.csv
YAML
    printf '%s\n' "${@:3}" >>"$tmp/$1.yaml"
}

# --- the victim ----------------------------------------------------------------

# What the victim's coming starts are killed at; empty: nothing, and at -1 it
# writes down its calls.
declare -a plan
kills=0

# as_victim NAME FOLDER COMMAND...: runs it, under the next kill of the plan
# when NAME is the victim.
as_victim() {
    local name=$1 folder=$2 at=${plan[0]-0}
    shift 2
    if [ "$name" != "$victim" ]; then
        exec "$@"
    fi
    [ "$at" -ne -1 ] || {
        export KILL_LOG=$tmp/calls
        at=0
    }
    [ $((at % 2)) -eq 1 ] || export KILL_HALF=1
    export KILL_DIR=$folder KILL_AT=$at LD_PRELOAD=$preload
    exec "$@"
}

# start_over VERB FOLDER COMMAND...: a verb that may be the victim itself, until
# it works.
start_over() {
    local code=137
    while [ "$code" -eq 137 ]; do
        code=0
        (as_victim "$@") >"$point/out" 2>&1 || code=$?
        if [ "$code" -eq 137 ]; then
            kills=$((kills + 1))
            plan=("${plan[@]:1}")
        elif [ "$code" -eq 5 ] && [ -e "$2/$(whole_with "$1")" ]; then
            code=0 # it was killed with its work done
        elif [ "$code" -ne 0 ]; then
            echo "$1: code $code: $(cat "$point/out")"
            return 1
        fi
    done
}

# --- all points -----------------------------------------------------------------

lost=0
double=0

# every_point FILE: runs one_point, which prints nothing when all is well and
# leaves in FILE what must be the same each time: once without a kill, then for
# each call.
every_point() {
    local want count equal=0 points=0 n failed=()
    plan=(-1)
    one_point >"$tmp/said" 2>"$tmp/noise" ||
        fail "the unkilled run: $(cat "$tmp/said")"
    want=$(cat "$1")
    mv "$tmp/calls" "$tmp/first"
    count=$(wc -l <"$tmp/first")
    [ "$count" -gt 0 ] || fail "no call was counted"
    for ((n = first; n <= count + margin; n += every)); do
        plan=("$n" $((1 + n % 20)))
        points=$((points + 1))
        if ! one_point >"$tmp/said" 2>"$tmp/noise"; then
            failed+=("$n")
            echo "$who, call $n: $(cat "$tmp/said")"
        elif [ "$(cat "$1")" = "$want" ]; then
            equal=$((equal + 1))
        else
            failed+=("$n")
            echo "$who, call $n: $(cat "$1"), not $want"
        fi
    done
    echo "$who: $count calls: $(cut -d' ' -f2 "$tmp/first" | sort | uniq -c |
        awk '{ printf "%s%s %s", (NR > 1 ? ", " : ""), $1, $2 }')"
    echo "$who: $points points, $kills kills; lost $lost, double $double," \
        "the same in the end $equal of $points${resumed:+, uploads that went on $resumed}"
    [ ${#failed[@]} -eq 0 ] || fail "at calls ${failed[*]}"
}
