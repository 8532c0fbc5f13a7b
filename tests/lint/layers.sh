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
    [[ $rooms == *" $room "* ]] ||
        bad "$file:1" "room \"$room\" is not in core/layers.txt"
done

edges=()
while read -r file line header; do
    room=${file#core/} room=${room%%/*} to=${header%%/*}
    [[ $header != '<'* && $rooms == *" $room "* ]] || continue
    if [ "$to" = generated ]; then
        case $file in
        *_priv.h) ;;
        *.h) bad "$file:$line" "generated types stay inside .c files" ;;
        esac
        continue
    fi
    if [ ! -f "core/$header" ]; then
        bad "$file:$line" "no file core/$header"
    elif [[ ${may[$room]} != *" $to "* ]]; then
        bad "$file:$line" "room \"$room\" must not include \"$to\""
    elif [[ $room == fed && $header =~ ^base/(clock|file|pool)\.h$ ]]; then
        bad "$file:$line" "room \"fed\" knows no $header"
    fi
    # A module is a .h and its .c (and its _priv.h).
    file=${file#core/} file=${file%.[ch]} header=${header%.h}
    edges+=("${file%_priv} ${header%_priv}")
done < <(includes core)

while read -r file line header; do
    [[ $header == '<'* || -f ${file%%/*}/$header || -f core/$header ]] ||
        bad "$file:$line" "no file $header in core or ${file%%/*}"
done < <(includes $programs)

# tsort names the cycles.
if ! printf '%s\n' "${edges[@]}" | tsort >/dev/null 2>"$found.tsort"; then
    bad core/layers.txt:1 "modules that include each other:" \
        "$(sed -n 's/^tsort: //; /input contains a loop/!p' "$found.tsort" |
            tr '\n' ' ')"
fi
finish
