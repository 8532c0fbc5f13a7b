#!/usr/bin/env bash
# Every header says at its head what it is ("/* <file> - ..."), has a
# guard, and has a comment directly above each public prototype; one comment may
# stand above a group of prototypes without a blank line between.
. "$(dirname "$0")/lib.sh"

for file in $(c_files core include | grep '\.h$'); do
    ! template "$file" || continue
    awk -v file="$file" '
        function say(text) { printf "%s:%d: %s\n", file, FNR, text }
        FNR == 1 && index($0, "/* " file " - ") != 1 {
            say("the first line must begin \"/* " file " - \"")
        }
        /^#ifndef (TB|TRIBUTARY)(_[A-Z0-9_]*)?_H$/ { guard = 1 }
        /^extern "C" {$/ || (/^}$/ && depth == 0) { next }
        in_comment { in_comment = $0 !~ /\*\//; covered = 1; next }
        /^[ \t]*\/\*/ { in_comment = $0 !~ /\*\//; covered = 1; next }
        /^$/ { covered = 0; next }
        /^#/ { directive = /\\$/; next }
        directive { directive = /\\$/; next }
        { # a declaration at file level, perhaps over several lines
            was = depth
            text = $0
            sub(/\/\*.*/, "", text)
            if (was == 0 && statement == "" && !covered) { bare = FNR }
            statement = statement " " text
            depth += gsub(/{/, "{", text) - gsub(/}/, "}", text)
            if (depth > 0 || text !~ /[;}][ \t]*$/) { next }
            prototype = statement !~ /{/ && statement ~ /\(/ &&
                        statement !~ /^ *(typedef|_Static_assert)/
            inline = statement ~ /^ *static inline /
            if ((prototype || inline) && bare > 0) {
                printf "%s:%d: no comment above this prototype\n", file, bare
            }
            statement = ""
            bare = 0
        }
        END { if (!guard) say("no #ifndef TB_..._H guard") }' "$file" >>"$found"
done
finish
