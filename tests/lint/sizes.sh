#!/usr/bin/env bash
# The size budgets: 800 lines a file, 100 a function, 6 parameters (kernels in
# core/tensor excepted), 4 levels of nesting, 80 columns.
. "$(dirname "$0")/lib.sh"

c_files core $programs examples bench tests |
    xargs -r awk -f "$here/strip.awk" -f "$here/functions.awk" >>"$found"
finish
