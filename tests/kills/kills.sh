# kills.sh BIN SANITIZERS KILL_AT WHO [EVERY [FIRST]]: kills one program of a small
# federation with SIGKILL at every call that changes its folder, and looks what
# became of the run. WHO: daemon, client (one of three), join or init. EVERY k:
# only every k-th call, from the FIRST-th on.
#
# A first run without a kill counts the calls and gives the model's hash. Then,
# for each n, a new federation is made, its victim dies before its n-th call
# (half of the write is made first when n is even) and is started again at once;
# it dies a second time early in that start, and the third start is left alone.
# In the end the model's hash must be that of the unkilled run, the journal must
# hold each client's update of each round exactly once, replay must make the
# same hash from it, check must find nothing, and no client may hold a receipt
# for more.
. "$(dirname "$0")/../e2e/lib.sh"

preload=$(realpath "$3")
who=$4
every=${5-1}
first=${6-1}
rounds=2
n_clients=3
margin=5
# Both stand behind our preloaded functions, not before them.
export ASAN_OPTIONS=${ASAN_OPTIONS-}:verify_asan_link_order=0

# nap SECONDS: without a process of its own.
exec {never}<> <(:)
nap() {
    read -rt "$1" -u "$never" || true
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

for ((i = 0; i < n_clients; i++)); do
    rows "$i" 60 >"$tmp/client-0$i.csv"
done
rows 9 40 >"$tmp/held-out.csv"
# Wide enough for an update of a head and two blocks.
cat >"$tmp/job.yaml" <<YAML
name: small
model: {new: "mlp:4-256-256-3"}
data:
  set: numbers
  reader: csv
loss: softmax_cross_entropy
batch: 32
rounds: $rounds
cohort:
  target: $n_clients
  minimum: $n_clients
seed: 1
evaluate: held-out.csv
YAML

# --- the federation of one point ---------------------------------------------

# What the victim's coming starts are killed at; empty: nothing, and at -1 it
# writes down its calls.
declare -a plan
kills=0

# as_victim NAME FOLDER COMMAND...: runs it, under the next kill of the plan
# when NAME is the victim.
as_victim() {
    local name=$1 folder=$2 at=${plan[0]-0}
    shift 2
    if [ "$name" != "$who" ]; then
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

start_daemon() {
    as_victim daemon "$TRIBUTARY_DIR" tributaryd run --keep-updates \
        >>"$point/daemon.log" 2>&1 &
    pid[daemon]=$!
}

start_client() {
    local name=$1 role=other
    [ "$name" != client-00 ] || role=client
    as_victim $role "$point/$name.home" tributary run \
        --home "$point/$name.home" --data "numbers=$tmp/$name.csv" \
        >>"$point/$name.log" 2>&1 &
    pid[$name]=$!
}

# died NAME: whether it is gone. Only a kill of ours may end it; the rest of the
# plan is for its next starts.
died() {
    local code=0
    ! kill -0 "${pid[$1]}" 2>/dev/null || return 1
    wait "${pid[$1]}" || code=$?
    unset "pid[$1]"
    if [ "$code" -eq 0 ] && [ -n "${stopping-}" ]; then
        return 0
    fi
    [ "$code" -eq 137 ] || {
        echo "$1 ended with code $code"
        return 2
    }
    kills=$((kills + 1))
    plan=("${plan[@]:1}")
}

# Starts again what was killed.
revive() {
    local name code
    for name in daemon client-00; do
        [ -n "${pid[$name]-}" ] || continue
        code=0
        died $name || code=$?
        if [ "$code" -eq 2 ]; then
            return 1
        elif [ "$code" -eq 0 ] && [ $name = daemon ]; then
            start_daemon
        elif [ "$code" -eq 0 ]; then
            start_client $name
        fi
    done
}

# attempt COMMAND...: while it runs, the dead are raised. A join that waits for an
# answer of the dead one is broken off.
attempt() {
    local code=0 before=$kills
    "$@" >"$point/out" 2>&1 </dev/null &
    pid[attempt]=$!
    while kill -0 "${pid[attempt]}" 2>/dev/null; do
        revive || return 2
        if [ "$kills" -gt "$before" ] && [ "$1" = join_once ]; then
            pkill -9 -P "${pid[attempt]}" || true
            before=$kills
        fi
        nap 0.01
    done
    wait "${pid[attempt]}" || code=$?
    unset "pid[attempt]"
    [ "$code" -eq 0 ]
}

# insist COMMAND...: until it works.
insist() {
    local tries=$((1000 * slowness)) code=0
    until code=0 && attempt "$@"; do
        [ "$?" -ne 2 ] || return 1
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || {
            echo "never worked: $*: $(cat "$point/out")"
            return 1
        }
        nap 0.01
    done
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

# The last file that a verb makes: with it there is nothing left to do.
whole_with() {
    [ "$1" = init ] && echo HEAD || echo federation
}

invited() {
    tributaryd invite "$1" >"$point/invite"
}

join_once() {
    tributary join "$(cat "$point/invite")" --home "$point/$1.home" ||
        [ -e "$point/$1.home/federation" ]
}

enrol() {
    insist invited "$1" || return
    if [ "$who" = join ] && [ "$1" = client-00 ]; then
        start_over join "$point/$1.home" tributary join \
            "$(cat "$point/invite")" --home "$point/$1.home"
    else
        insist join_once "$1"
    fi
}

# Started, whether or not the answer of a start came through.
started() {
    tributaryd status --json | grep -q '"job": "small"\|"last_job": "small"' ||
        tributaryd start "$tmp/job.yaml"
}

is_over() {
    tributaryd watch --json
}

# One federation from its first file to its last. What went wrong is printed.
whole_run() {
    local i name
    start_over init "$TRIBUTARY_DIR" tributaryd init "$TRIBUTARY_DIR" || return
    start_daemon
    insist running || return
    for ((i = 0; i < n_clients; i++)); do
        name=client-0$i
        enrol "$name" || return
        start_client "$name"
    done
    insist started || return
    insist is_over || return
    stop_daemon
}

# Stops the daemon as an operator does; false: it was killed on the way.
stopped() {
    local before=$kills code=1
    kill "${pid[daemon]}"
    while [ "$code" -eq 1 ]; do
        nap 0.01
        code=0
        died daemon || code=$?
    done
    [ "$code" -eq 0 ] || return 2
    [ "$kills" -eq "$before" ]
}

# Until one of its lives ends as it should.
stop_daemon() {
    insist running || return
    stopping=yes
    until stopped; do
        [ "$?" -ne 2 ] || return 1
        start_daemon
        insist running || return
    done
    stopping=
}

stop_all() {
    local name
    for name in "${!pid[@]}"; do
        kill -9 "${pid[$name]}" 2>/dev/null || true
        wait "${pid[$name]}" 2>/dev/null || true
        unset "pid[$name]"
    done
    stopping=
}

# --- what must hold -------------------------------------------------------------

# receipts LOG: of how many rounds. A client that was killed may hear of one again.
receipts() {
    sed -n 's/.*event=round_over accepted=yes config=//p' "$1" | sort -u | wc -l
}

# Of the folder as it lies there, and the clients' logs.
look() {
    local check replay hash updates name n
    check=$(tributaryd check 2>&1) || {
        echo "check: $check"
        return 1
    }
    replay=$(tributaryd replay --json 2>&1) || {
        echo "replay: $replay"
        return 1
    }
    hash=$(json_field hash <<<"$replay")
    updates=$(json_field updates <<<"$replay")
    [ "$hash" = "$(network_hash)" ] || {
        echo "replay makes another hash than the run"
        return 1
    }
    [ "$updates" = $((rounds * n_clients)) ] || {
        [ "$updates" -gt $((rounds * n_clients)) ] && double=$((double + 1)) ||
            lost=$((lost + 1))
        echo "$updates updates are in the journal, not $((rounds * n_clients))"
        return 1
    }
    for name in client-00 client-01 client-02; do
        n=$(receipts "$point/$name.log")
        [ "$n" -le $rounds ] || {
            lost=$((lost + 1))
            echo "$name holds $n receipts"
            return 1
        }
    done
    echo "$hash" >"$point/hash"
}

# one_point N: the whole story of one kill. Prints nothing when all is well.
one_point() {
    point=$tmp/point
    rm -rf "$point"
    mkdir "$point"
    export TRIBUTARY_DIR=$point/fleet
    whole_run && look
    local code=$?
    stop_all
    return $code
}

# --- all points -----------------------------------------------------------------

lost=0
double=0
equal=0
points=0
failed=()
plan=(-1)
one_point >"$tmp/said" 2>"$tmp/noise" || fail "the unkilled run: $(cat "$tmp/said")"
want=$(cat "$point/hash")
mv "$tmp/calls" "$tmp/first"
count=$(wc -l <"$tmp/first")
[ "$count" -gt 0 ] || fail "no call was counted"
for ((n = first; n <= count + margin; n += every)); do
    plan=("$n" $((1 + n % 20)))
    points=$((points + 1))
    if ! one_point >"$tmp/said" 2>"$tmp/noise"; then
        failed+=("$n")
        echo "$who, call $n: $(cat "$tmp/said")"
    elif [ "$(cat "$point/hash")" = "$want" ]; then
        equal=$((equal + 1))
    else
        failed+=("$n")
        echo "$who, call $n: hash $(cat "$point/hash"), not $want"
    fi
done
echo "$who: $count calls: $(cut -d' ' -f2 "$tmp/first" | sort | uniq -c |
    awk '{ printf "%s%s %s", (NR > 1 ? ", " : ""), $1, $2 }')"
echo "$who: $points points, $kills kills; lost $lost, double $double," \
    "hashes equal $equal of $points"
[ ${#failed[@]} -eq 0 ] || fail "at calls ${failed[*]}"
