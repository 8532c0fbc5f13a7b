#!/usr/bin/env bash
# Functions that are not called here: unsafe text functions everywhere, the
# heap outside core/base/mem.c, and labels other than "done".
. "$(dirname "$0")/lib.sh"

unsafe='strcpy|strcat|stpcpy|sprintf|vsprintf|strtok|gets|atoi|atol|atof|atoll'
unsafe="$unsafe|rand|srand|random|drand48|setlocale|tmpnam|mktemp|alloca"
heap='malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign'
heap="$heap|memalign|strdup|strndup|asprintf|vasprintf|getline|getdelim"

# calls NAMES FILE: "line name" of each call in FILE; a member of that name or
# a declaration of one is no call.
calls() {
    awk -f "$here/strip.awk" "$2" | awk -v names="^($1)\$" '{
        line = " " $0
        while (match(line, /[^A-Za-z0-9_][A-Za-z_][A-Za-z0-9_]*[ \t]*\(/)) {
            before = substr(line, 1, RSTART)
            name = substr(line, RSTART + 1, RLENGTH - 2)
            gsub(/[ \t]/, "", name)
            if (name ~ names && before !~ /(\.|->|\(\*)$/) {
                print FNR, name
            }
            line = substr(line, RSTART + RLENGTH - 1)
        }
    }'
}

for file in $(c_files core $programs examples bench tests); do
    while read -r line name; do
        bad "$file:$line" "$name() is banned"
    done < <(calls "$unsafe" "$file")
    case $file in core/base/mem.c | bench/*) continue ;; esac
    while read -r line name; do
        bad "$file:$line" "$name(): only core/base/mem.c touches the heap"
    done < <(calls "$heap" "$file")
done
for file in $(c_files core $programs); do
    awk -f "$here/strip.awk" "$file" | awk -v file="$file" '
        match($0, /goto +[A-Za-z_0-9]+/) {
            label = substr($0, RSTART + 5, RLENGTH - 5)
            gsub(/ /, "", label)
            if (label != "done") {
                printf "%s:%d: goto %s: the one label is \"done\"\n",
                       file, FNR, label
            }
        }' >>"$found"
done
finish
