#!/usr/bin/env bash
# Includes follow core/layers.txt: a room includes only rooms it stands on, a
# program no other program, and no two modules include each other.
. "$(dirname "$0")/lib.sh"

rooms=" $(awk -F: '/^[a-z]/ { gsub(/ /, "", $1); print $1 }' core/layers.txt |
    tr '\n' ' ')"
declare -A may
for room in $rooms; do
    may[$room]=$(closure "$room")
done

for file in $(c_files core); do
    room=${file#core/} room=${room%%/*}
    case $rooms in
    *" $room "*) ;;
    *) bad "$file:1" "room \"$room\" is not in core/layers.txt" && continue ;;
    esac
    while read -r line header; do
        to=${header%%/*}
        if [ "$to" = generated ]; then
            case $file in
            *_priv.h) ;;
            *.h) bad "$file:$line" "generated types stay inside .c files" ;;
            esac
        elif [ ! -f "core/$header" ]; then
            bad "$file:$line" "no file core/$header"
        elif [[ ${may[$room]} != *" $to "* ]]; then
            bad "$file:$line" "room \"$room\" must not include \"$to\""
        elif [ "$room" = fed ]; then
            case $header in
            base/clock.h | base/file.h | base/pool.h)
                bad "$file:$line" "room \"fed\" knows no $header"
                ;;
            esac
        fi
    done < <(quoted "$file")
done

for program in $programs; do
    for file in $(c_files "$program"); do
        while read -r line header; do
            [ -f "$program/$header" ] && continue
            [ -f "core/$header" ] && continue
            bad "$file:$line" "no file $header in core or $program"
        done < <(quoted "$file")
    done
done

# A module is a .h and its .c (and its _priv.h); tsort names the cycles.
edges() {
    local file from line header
    for file in $(c_files core); do
        from=${file#core/} from=${from%.[ch]} from=${from%_priv}
        while read -r line header; do
            header=${header%.h}
            echo "$from ${header%_priv}"
        done < <(quoted "$file")
    done
}
if ! edges | tsort >/dev/null 2>"$found.tsort"; then
    bad core/layers.txt:1 "modules that include each other:" \
        "$(sed -n 's/^tsort: //; /input contains a loop/!p' "$found.tsort" |
            tr '\n' ' ')"
fi
finish
