# tests/lint/lib.sh - shared by the lints. Each lint is called with the tree to
# check, prints "file:line: what is wrong" and exits 1 when it found something.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "${1:?the tree to check}"
export LC_ALL=C

programs='coordinator client sim'
found=$(mktemp)
trap 'rm -f "$found" "$found".*' EXIT

# c_files FOLDER...: its C files, sorted; a folder that is not there is empty.
c_files() {
    local folder
    for folder in "$@"; do
        [ ! -d "$folder" ] ||
            find "$folder" -type f \( -name '*.c' -o -name '*.h' \)
    done | sort
}

# bad FILE:LINE TEXT...: one finding.
bad() {
    local where=$1
    shift
    echo "$where: $*" >>"$found"
}

# finish: prints what was found and not waived; the exit code of the lint.
finish() {
    local known=$found.known
    grep -hvE '^ *(#|$)' tests/lint/waivers.txt >"$known" 2>/dev/null || true
    ! sort -s -t: -k1,1 -k2,2n "$found" | uniq | grep -vFf "$known"
}

# template FILE: whether it is no header but text that a .c file includes, as
# its head says.
template() {
    head -n 8 "$1" | grep -q 'The includer defines'
}

# includes FOLDER...: "file line header" of each #include there; a header of
# the system keeps its "<".
includes() {
    c_files "$@" | xargs -r grep -nE '^[ \t]*#[ \t]*include' /dev/null |
        sed -nE 's/^([^:]+):([0-9]+):[^"<]*("|<)([^">]+).*/\1 \2 \3\4/p' |
        tr -d '"'
}

# row ROOM COLUMN: what core/layers.txt says; column 2 rooms, 3 libraries.
row() {
    awk -F: -v room="$1" -v column="$2" \
        '/^[a-z]/ { name = $1; gsub(/ /, "", name) }
         /^[a-z]/ && name == room { print $column }' core/layers.txt
}

# closure ROOM: the room and all that it may include, with blanks around.
closure() {
    local seen=' ' todo=$1 room
    while [ -n "${todo// /}" ]; do
        read -r room todo <<<"$todo"
        case $seen in *" $room "*) continue ;; esac
        seen="$seen$room "
        todo="$todo $(row "$room" 2)"
    done
    echo "$seen"
}
