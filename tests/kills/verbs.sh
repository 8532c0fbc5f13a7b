# verbs.sh BIN SANITIZERS KILL_AT WHO [EVERY [FIRST]]: kills a verb that works on
# the folder of a daemon that is down, at each of its calls there. WHO:
#   gc        removes rounds' models, a version, and the updates of a kept run
#   backup    copies the folder
#   restore   makes a folder of a copy
# The folder is what kill -9 left after two runs. After the kill check finds
# nothing, in the folder and in a copy that has its name; the verb works when it
# is called again (half a copy has another name, and is removed before, as it
# says); and the files in the end are those of a verb nobody killed.
. "$(dirname "$0")/lib.sh"

victim=$who
made=$tmp/made
point=$tmp/point
make_data
job_file small 1 "rounds: 3"

# Two runs of one model, both kept, every round's model still there.
make_folder() {
    local i
    export TRIBUTARY_DIR=$made/fleet
    daemon --keep-updates --keep-checkpoints 0
    for ((i = 0; i < n_clients; i++)); do
        join client-0$i
        tributary run --home "$tmp/client-0$i.home" \
            --data "numbers=$tmp/client-0$i.csv" >>"$tmp/client-0$i.log" 2>&1 &
        pid[client-0$i]=$!
    done
    for i in 1 2; do
        tributaryd start "$tmp/small.yaml" --seed "$i" >/dev/null
        tributaryd watch >/dev/null
    done
    for i in "${!pid[@]}"; do
        kill_hard "$i"
    done
    tributaryd backup "$TRIBUTARY_DIR" "$made/copy" >/dev/null
    rm -f "$TRIBUTARY_DIR/control"
}

# The victim's own arguments; what it makes or changes lies in $folder.
case $who in
gc)
    folder=$point/fleet
    verb=(tributaryd gc --dir "$point/fleet" --keep-checkpoints 1
        --keep-versions 1 --keep-spool 1)
    ;;
backup)
    folder=$point/to
    verb=(tributaryd backup "$point/fleet" "$folder/new")
    ;;
restore)
    folder=$point/to
    verb=(tributaryd restore "$point/copy" "$folder/new"
        --master-key "$point/fleet.master-key")
    ;;
esac

checked() {
    tributaryd check "$1" --master-key "$point/fleet.master-key" \
        >"$point/check" 2>&1 || {
        echo "check $1: $(cat "$point/check")"
        return 1
    }
}

# What is there after a kill.
holds() {
    checked "$point/fleet" && checked "$point/copy" || return
    [ ! -e "$folder/new" ] || checked "$folder/new"
}

# The files that must be the same, by name.
files() {
    local at=$folder
    [ "$who" = gc ] || at=$folder/new
    (cd "$at" && find . -type f ! -name 'journal.sqlite-*' ! -name LOCK |
        sort | sha256sum)
    (cd "$point" && find . -name '*.partial' | sort)
}

one_point() {
    local code=137
    rm -rf "$point"
    mkdir "$point"
    cp -a "$made/." "$point/"
    mkdir -p "$point/to"
    while [ "$code" -eq 137 ]; do
        code=0
        (as_victim "$who" "$folder" "${verb[@]}") >"$point/out" 2>&1 || code=$?
        if [ "$code" -eq 137 ]; then
            kills=$((kills + 1))
            plan=("${plan[@]:1}")
            holds || return
            rm -rf "$folder/new.partial"
        elif [ "$code" -eq 5 ] && [ -e "$folder/new" ]; then
            code=0 # it was killed with its work done
        fi
    done
    [ "$code" -eq 0 ] || {
        echo "$who: code $code: $(cat "$point/out")"
        return 1
    }
    holds && files >"$tmp/files"
}

make_folder
every_point "$tmp/files"
