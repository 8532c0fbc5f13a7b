#!/usr/bin/env bash
# Each header of core compiles alone. CC names the compiler.
. "$(dirname "$0")/lib.sh"

for file in $(c_files core | grep '\.h$'); do
    ! template "$file" || continue
    echo "#include \"${file#core/}\"" |
        "${CC:-cc}" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Icore \
            -fsyntax-only -x c - 2>&1 | grep -E '(error|warning):' >>"$found" ||
        true
done
finish
