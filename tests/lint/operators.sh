#!/usr/bin/env bash
# docs/operators.md says what the table of operators says. The second argument
# is the program that prints it.
. "$(dirname "$0")/lib.sh"

if ! "$2" | diff -u docs/operators.md - >"$found.diff"; then
    sed -n '3,40p' "$found.diff"
    echo "docs/operators.md:1: is old: run $2 > docs/operators.md"
    exit 1
fi
