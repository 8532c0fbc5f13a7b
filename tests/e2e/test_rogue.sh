# A member that breaks the rules, one at a time, beside three honest clients: it
# is refused with the code that fits, the refusal is counted, and the model is
# the one that the honest clients make without it.
. "$(dirname "$0")/lib.sh"

make_parts 3
# More than one block of values: what came before a bad one is taken out again.
job "rounds: 1" "model: {new: mlp:784-100-10}"
daemon
fleet 3
join rogue

all_ready() {
    kill -0 "${pid[rogue]}" || fail "$(cat "$tmp/rogue.log")"
    [ "$(tributaryd status --json | json_field ready)" = 4 ]
}

refused() {
    local n
    n=$(tributaryd status --json | json_field "$1")
    echo "${n:-0}"
}

# play TRICK [FLAG...]: a run with the rogue in its cohort. Sets $model.
play() {
    trick=$1
    shift
    rogue "$tmp/rogue.home" pictures "$trick" >"$tmp/rogue.log" 2>&1 &
    pid[rogue]=$!
    until_ok 20 all_ready
    tributaryd start "$tmp/job.yaml" "$@" >/dev/null
    tributaryd watch >"$tmp/watch.log" || fail "$trick: the run failed"
    wait "${pid[rogue]}" || fail "$trick: $(cat "$tmp/rogue.log")"
    unset "pid[rogue]"
    model=$(network_hash)
}

# Counted per message: what was on its way when the first was refused, too.
more_refused() { # CODE BEFORE
    [ "$(refused "$1")" -gt "$2" ] || fail "$trick: no more refusals: $1"
}

of_rogue() {
    tributaryd clients --json | sed -n '/rogue/,$p' | json_field "$1"
}

# (The scale of the sum follows the cohort: 3 and 4 give the same one.)
honest=$(sim_hash 2)
expelled=0
while read -r trick code; do
    before=$(refused "$code")
    play "$trick" --cohort-target 4
    same "$trick: model" "$honest" "$model"
    more_refused "$code" "$before"
    [ "$code" = wrong-round ] || expelled=$((expelled + 1))
    same "$trick: expelled" "$expelled" "$(of_rogue expelled)"
done < <(rogue tricks)
same "updates of the rogue" 0 "$(of_rogue accepted)"

# A name that is not its own, before it takes part and declines.
before=$(refused identity)
play other-name --cohort-target 4
same "other-name: model" "$honest" "$model"
more_refused identity "$before"

# Too late: three were enough.
play late --cohort-over-selection 1.3
same "late: model" "$honest" "$model"
same "refusals (late)" 1 "$(refused late)"

# An honest update counts once, however often it is sent.
play honest --cohort-target 4
all=$model
[ "$all" != "$honest" ] || fail "the fourth update made no difference"
play twice --cohort-target 4
same "twice: model" "$all" "$model"
same "refusals (duplicate)" 1 "$(refused duplicate)"
play ungranted --cohort-target 4
same "ungranted: model" "$all" "$model"
same "refusals (state)" 1 "$(refused state)"
