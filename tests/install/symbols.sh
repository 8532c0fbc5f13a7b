#!/usr/bin/env bash
# symbols SOURCE LIBRARY: the library shows the header's functions and nothing
# else, under a version, and needs no library but those of numbers.
set -euo pipefail
export LC_ALL=C
header=$1/include/tributary.h library=$2
fail() {
    echo "symbols: $*" >&2
    exit 1
}

diff <(grep -oE '\btributary_[a-z_]+\(' "$header" | tr -d '(' | sort -u) \
    <(nm -D --defined-only "$library" |
        sed -n 's/.* T \([^@]*\)@@TRIBUTARY_0\.1$/\1/p' | sort) ||
    fail "header (<) and library (>) differ"
shown=$(nm -D --defined-only "$library" | grep -vcE '@@TRIBUTARY_0\.1$| A ') ||
    true
[ "$shown" = 0 ] || fail "$shown names without a version"

needed=$(objdump -p "$library" | sed -n 's/^ *NEEDED *\(lib[a-z-]*\).*/\1/p')
for name in $needed; do
    case $name in
    libc | libm | libopenblas | libprotobuf-c | libsodium | libpthread) ;;
    *) fail "needs $name" ;;
    esac
done
objdump -p "$library" | grep -q 'SONAME *libtributary\.so\.0$' || fail "SONAME"
! nm -D --undefined-only "$library" |
    grep -wE 'socket|connect|bind|listen|accept|sendto|recvfrom' ||
    fail "uses sockets"
