# kills.sh BIN SANITIZERS KILL_AT WHO [EVERY [FIRST]]: kills one program of a small
# federation with SIGKILL at every call that changes its folder, and looks what
# became of the run. EVERY k: only every k-th call, from the FIRST-th on. WHO:
#   daemon, client (one of three), join, init   in a run of two rounds
#   operated   the daemon of a fleet that stands, in two jobs, stopped with SIGTERM
#              in the middle of a round, while it is backed up, while its keys
#              change, and while gc removes what is old
#   async      the same in an asynchronous run, stopped with SIGTERM while a buffer
#              is half full
#
# A first run without a kill counts the calls and gives the models' hashes. Then,
# for each n, a federation is made anew, its victim dies before its n-th call
# (half of the write is made first when n is even) and is started again at once;
# it dies a second time early in that start, and the third start is left alone.
# In the end the models' hashes must be those of the unkilled run (asynchronous:
# those that replay makes, as who comes first is chance), the journal must hold
# each client's update of each round exactly once, replay must make the same
# hashes from it, check must find nothing, also not in what the clients hold, and
# no client may have heard of an acceptance that the journal has not.
. "$(dirname "$0")/lib.sh"

make_data
victim=$who daemon_flags=()
case $who in
async)
    victim=daemon
    rounds=3 counted=6 jobs=(small)
    job_file small 1 "rounds: $rounds" "mode: async" "buffer: 2" \
        "max_staleness: 4"
    sed -i "s/minimum: .*/minimum: 2/" "$tmp/small.yaml"
    ;;
operated)
    victim=daemon
    rounds=2 counted=6 jobs=(small other)
    job_file small 1 "rounds: $rounds"
    job_file other 2 "rounds: $rounds"
    daemon_flags=(--keep-checkpoints 1)
    ;;
*)
    rounds=2 counted=6 jobs=(small)
    job_file small 1 "rounds: $rounds"
    ;;
esac

# --- the federation of one point ---------------------------------------------

start_daemon() {
    as_victim daemon "$TRIBUTARY_DIR" tributaryd run --keep-updates \
        ${daemon_flags[@]+"${daemon_flags[@]}"} >>"$point/daemon.log" 2>&1 &
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
    ! alive "${pid[$1]}" || return 1
    wait "${pid[$1]}" || code=$?
    unset "pid[$1]"
    if [ "$code" -eq 0 ] && [ -n "${stopping-}" ]; then
        return 0
    fi
    if [ "$code" -eq 8 ]; then
        return 0 # gc is in the dead one's folder, or somebody has its port
    fi
    [ "$code" -eq 137 ] || {
        echo "$1 ended with code $code: $(tail -n 2 "$point/$1.log")"
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
    local code=0 before=$kills tries=$((6000 * slowness))
    "$@" >"$point/out" 2>&1 </dev/null &
    pid[attempt]=$!
    while alive "${pid[attempt]}"; do
        revive || return 2
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || {
            echo "hangs: $*: $(cat "$point/out")"
            return 2
        }
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
    local tries=$((600 * slowness)) code=0
    until code=0 && attempt "$@"; do
        [ "$?" -ne 2 ] || return 1
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || {
            echo "never worked: $*: $(cat "$point/out")" \
                "$(tail -n 3 "$point/daemon.log")"
            return 1
        }
        nap 0.03
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

# started JOB: whether or not the answer of a start came through.
started() {
    tributaryd jobs --json | grep -q "\"job\": \"$1\"" ||
        tributaryd start "$tmp/$1.yaml"
}

is_over() {
    tributaryd watch "$1" --json
}

endpoint() {
    tributaryd status --json | json_field endpoint
}

backed_up() {
    [ -d "$point/backup" ] || tributaryd backup "$TRIBUTARY_DIR" "$point/backup"
}

rotated() {
    tributaryd rotate || [ $? -eq 8 ] # begun before the kill
}

# Whether all clients know of the new doors, and were welcomed there. One that a
# kill sent back to the old ones stays there until they are closed.
told() {
    grep -l "^endpoint: \"\{0,1\}$(endpoint)" "$point"/*.home/federation \
        >"$point/told" && [ "$(wc -l <"$point/told")" -eq $n_clients ]
}

moved() {
    told && ! grep -q endpoint_before "$point"/*.home/federation
}

old_doors_closed() {
    tributaryd rotate --finish >"$point/finish" 2>&1 ||
        grep -q "no change of keys" "$point/finish"
}

collected() {
    tributaryd gc
}

# half N BEFORE: until N updates are in; not once there were more kills than
# BEFORE, since who is frozen does not come back to another life of the daemon.
half() {
    local tries=$((300 * slowness))
    until [ "$kills" -gt "$2" ] ||
        [ "$(tributaryd status --json | json_field accepted)" = "$1" ]; do
        revive || return
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || {
            echo "never were $1 updates in"
            return 1
        }
        nap 0.05
    done
}

# Stopped in the middle, with what N clients sent; the others are frozen.
stopped_half_way() {
    local name before=$kills
    for name in "${@:2}"; do
        kill -STOP "${pid[$name]}"
    done
    insist started small && half "$1" "$before" && stop_daemon || return
    start_daemon
    for name in "${@:2}"; do
        kill -CONT "${pid[$name]}"
    done
    insist running
}

story() {
    case $who in
    operated)
        stopped_half_way 2 client-02 &&
            insist started other && insist backed_up && insist rotated &&
            insist is_over small && insist is_over other && insist told &&
            insist old_doors_closed && insist moved && insist collected
        ;;
    async)
        stopped_half_way 1 client-01 client-02 && insist is_over small
        ;;
    *)
        insist started small && insist is_over small
        ;;
    esac
}

# A fleet that has enrolled, and its daemon.
founded() {
    local i
    start_over init "$TRIBUTARY_DIR" tributaryd init "$TRIBUTARY_DIR" || return
    start_daemon
    insist running || return
    for ((i = 0; i < n_clients; i++)); do
        enrol "client-0$i" || return
        start_client "client-0$i"
    done
}

# The same as it was put aside, whose first files are no points.
found_again() {
    local i
    cp -a "$tmp/founded/." "$point/"
    start_daemon
    insist running || return
    for ((i = 0; i < n_clients; i++)); do
        start_client "client-0$i"
    done
    insist all_here
}

all_here() {
    [ "$(tributaryd status --json | json_field ready)" = $n_clients ]
}

put_aside() {
    point=$tmp/founded
    mkdir "$point"
    export TRIBUTARY_DIR=$point/fleet
    plan=()
    victim=nobody
    founded || fail "no fleet was founded"
    victim=daemon
    stop_all
    rm -f "$point"/*.log "$point/invite" "$point/out"
}

# One federation from its first file to its last. What went wrong is printed.
whole_run() {
    if [ -d "$tmp/founded" ]; then
        found_again
    else
        founded
    fi && story && stop_daemon
}

# Stops the daemon as an operator does; false: it was killed on the way.
stopped() {
    local before=$kills code=1 tries=$((3000 * slowness))
    kill "${pid[daemon]}"
    while [ "$code" -eq 1 ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || {
            echo "the daemon does not stop"
            return 2
        }
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

# unknown LOG...: acceptances that clients have heard of and the journal has not.
unknown() {
    python3 - "$TRIBUTARY_DIR/journal.sqlite" "$@" <<'PY'
import os, re, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
rows = {(config.hex(), client)
        for config, client in db.execute("select config, client from acceptance")}
for log in sys.argv[2:]:
    name = os.path.basename(log).removesuffix(".log")
    heard = re.findall(r"event=round_over accepted=yes config=(\w+)", open(log).read())
    for config in heard:
        if (config, name) not in rows:
            print(name, config)
PY
}

# of_run JOB: its run's id.
of_run() {
    tributaryd jobs --json | tr -d '\n ' | tr '{' '\n' | grep "\"job\":\"$1\"" |
        json_field run
}

# look_at JOB: replayed, it has the hash and the number of updates of the run.
look_at() {
    local replay hash updates made
    replay=$(tributaryd replay "$(of_run "$1")" --json 2>&1) || {
        echo "replay of $1: $replay"
        return 1
    }
    made=$(tributaryd watch "$1" --json |
        sed -n 's/.*"model": *"\([0-9a-f]*\)".*/\1/p' | tail -n 1)
    hash=$(json_field hash <<<"$replay")
    updates=$(json_field updates <<<"$replay")
    [ "$hash" = "$made" ] || {
        echo "replay of $1 makes another hash than the run"
        return 1
    }
    [ "$updates" = "$counted" ] || {
        [ "$updates" -gt "$counted" ] && double=$((double + 1)) ||
            lost=$((lost + 1))
        echo "$1: $updates updates are in the journal, not $counted"
        return 1
    }
    [ "$who" = async ] || echo "$hash" >>"$point/hash"
}

# Of the folder as it lies there, and of what the clients know.
look() {
    local said name
    said=$(tributaryd check "$TRIBUTARY_DIR" --receipts "$point" 2>&1) || {
        echo "check: $said"
        return 1
    }
    if [ -d "$point/backup" ]; then
        said=$(tributaryd check "$point/backup" --master-key \
            "$TRIBUTARY_DIR.master-key" 2>&1) || {
            echo "check of the backup: $said"
            return 1
        }
    fi
    resumed=$((${resumed-0} + $(grep -c event=upload_resumed \
        "$point/daemon.log" || true)))
    : >"$point/hash"
    for name in "${jobs[@]}"; do
        look_at "$name" || return
    done
    said=$(unknown "$point"/client-0?.log 2>&1)
    [ -z "$said" ] || {
        lost=$((lost + 1))
        echo "accepted, and not in the journal: $said"
        return 1
    }
}

# told_all: whether the unkilled run had in it what the head of this file says.
told_all() {
    local event
    case $who in
    operated) set -- 'checkpoint result=used .* updates=2' keys_rotated \
        'gc blobs=[1-9]' ;;
    async) set -- 'checkpoint result=used .* updates=1' ;;
    *) set -- ;;
    esac
    for event; do
        grep -q "event=$event" "$point/daemon.log" || {
            echo "no event=$event in the log"
            return 1
        }
    done
}

# one_point: the whole story of one kill.
one_point() {
    point=$tmp/point
    rm -rf "$point"
    mkdir "$point"
    export TRIBUTARY_DIR=$point/fleet
    whole_run && look && { [ "${plan[0]-}" != -1 ] || told_all; }
    local code=$?
    stop_all
    return $code
}

[ "$victim" = "$who" ] || put_aside
every_point "$tmp/point/hash"
