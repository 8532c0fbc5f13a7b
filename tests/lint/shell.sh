#!/usr/bin/env bash
# Every script parses, says what runs it and, when it has no ending, may run.
. "$(dirname "$0")/lib.sh"

for file in $(find .ci scripts tests bench examples -type f 2>/dev/null | sort)
do
    head -c 2 "$file" | grep -q '^#!' || [[ $file == *.sh ]] || continue
    case $(head -n 1 "$file") in
    *bash | *'/bin/sh') ;;
    '#!'*) continue ;;
    esac
    bash -n "$file" 2>>"$found" || bad "$file:1" "does not parse"
    case ${file##*/} in
    *.*) ;;
    *) [ -x "$file" ] || bad "$file:1" "is not executable" ;;
    esac
done
finish
