#!/usr/bin/env bash
# The size budgets: 800 lines a file, 100 a function, 6 parameters (kernels in
# core/tensor excepted), 4 levels of nesting, 80 columns.
. "$(dirname "$0")/lib.sh"

for file in $(c_files core $programs examples bench tests); do
    awk -v file="$file" '
        { gsub(/[\200-\277]/, "") } # one column a character, not a byte
        length($0) > 80 { printf "%s:%d: %d columns, at most 80\n",
                                 file, NR, length($0) }
        END { if (NR > 800) printf "%s:%d: %d lines, at most 800\n",
                                   file, NR, NR }' "$file" >>"$found"
    case $file in core/tensor/*) parameters=99 ;; *) parameters=6 ;; esac
    awk -f "$here/strip.awk" "$file" |
        awk -v file="$file" -v parameters="$parameters" \
            -f "$here/functions.awk" >>"$found"
done
finish
