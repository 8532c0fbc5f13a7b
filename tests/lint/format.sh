#!/usr/bin/env bash
# clang-format would change nothing. To mend: clang-format -i FILE.
. "$(dirname "$0")/lib.sh"

command -v clang-format >/dev/null || {
    echo "clang-format is not installed: scripts/install"
    exit 1
}
c_files core $programs examples bench tests |
    xargs -r clang-format --dry-run --Werror 2>&1 |
    grep -E '(error|warning):' >>"$found" || true
finish
