#!/usr/bin/env bash
# Each header compiles alone. CC names the compiler.
. "$(dirname "$0")/lib.sh"

check() {
    echo "#include \"${1#*/}\"" |
        "${CC:-cc}" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Icore -Iinclude \
            -fsyntax-only -x c - 2>&1 | grep -E '(error|warning):' || true
}
export -f check

for file in $(c_files core include | grep '\.h$'); do
    template "$file" || echo "$file"
done | xargs -r -n 1 -P 2 bash -c 'check "$0"' >>"$found"
finish
