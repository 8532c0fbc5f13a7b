#!/usr/bin/env bash
# Each lint finds a fault planted in a small clean tree, and finds none before.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

# tree: a new clean tree at $tmp/tree.
tree() {
    rm -rf "$tmp/tree"
    mkdir -p "$tmp/tree/core/base" "$tmp/tree/core/fed" "$tmp/tree/core/host" \
        "$tmp/tree/client" "$tmp/tree/coordinator" "$tmp/tree/scripts" \
        "$tmp/tree/core/wire" "$tmp/tree/core/train"
    cd "$tmp/tree"
    cp "$top/.clang-format" "$top/core/layers.txt" .
    mv layers.txt core/
    cat >core/base/a.h <<'END'
/* core/base/a.h - a clean header. */
#ifndef TB_BASE_A_H
#define TB_BASE_A_H

/* Twice v. */
int tb_a_twice(int v);

#endif
END
    cat >core/base/a.c <<'END'
#include "base/a.h"

/* strcpy(a, b) in a comment is no call. */
int tb_a_twice(int v)
{
    struct {
        void (*free)(int v);
    } x = {0};
    if (x.free) {
        x.free(v);
    }
    return v * 2;
}
END
}

check() { # LINT: its exit code; its output in $tmp/out
    bash "$here/$1.sh" "$tmp/tree" >"$tmp/out" 2>&1
}

# finds LINT TEXT: the lint fails on the tree, and TEXT is in what it says.
finds() {
    if check "$1"; then
        echo "not ok: $1 did not find: $2"
        failures=$((failures + 1))
    elif ! grep -qF -- "$2" "$tmp/out"; then
        echo "not ok: $1 did not say \"$2\" but:"
        cat "$tmp/out"
        failures=$((failures + 1))
    else
        echo "ok: $1: $2"
    fi
    tree
}

tree
for lint in layers libraries sizes comments banned headers format words shell
do
    if check "$lint"; then
        echo "ok: $lint passes a clean tree"
    else
        echo "not ok: $lint on a clean tree:"
        cat "$tmp/out"
        failures=$((failures + 1))
    fi
done

# repeat N TEXT: N lines.
repeat() {
    local i
    for ((i = 0; i < $1; i++)); do echo "$2"; done
}

printf '#include "fed/x.h"\n' >>core/base/a.c
printf '#define X\n' >core/fed/x.h
finds layers 'core/base/a.c:14: room "base" must not include "fed"'
printf '#include "base/clock.h"\n' >core/fed/x.c
touch core/base/clock.h
finds layers 'room "fed" knows no base/clock.h'
printf '#include "verbs.h"\n' >client/main.c
touch coordinator/verbs.h
finds layers 'client/main.c:1: no file verbs.h'
printf '#include "base/b.h"\n' >>core/base/a.h
printf '#include "base/a.h"\n' >core/base/b.h
finds layers 'modules that include each other: base/'
mkdir core/attic && touch core/attic/x.c
finds layers 'room "attic" is not in core/layers.txt'
printf '#include "generated/x.pb-c.h"\n' >core/wire/x.h
finds layers 'generated types stay inside .c files'

printf '#include <czmq.h>\n' >core/fed/x.c
finds libraries 'core/fed/x.c:1: <czmq.h: library "czmq"'
printf '#include <sqlite3.h>\n' >client/x.c
finds libraries 'client/x.c:1: <sqlite3.h: library'
printf '#include <sodium.h>\n' >core/train/x.c
finds libraries 'library "sodium" is not for here'

printf '/* %s */\n' "$(repeat 10 1234567 | tr '\n' ' ')" >>core/base/a.c
finds sizes 'core/base/a.c:14: 86 columns'
repeat 801 'int x;' >core/base/long.c
finds sizes 'core/base/long.c:801: over 800 lines'
{
    printf 'int f(int v)\n{\n'
    repeat 99 '    v++;'
    printf '}\n'
} >>core/base/a.c
finds sizes 'core/base/a.c:15: function of 101 lines'
printf 'int tb_f(int a, int b, int c, int d, int e, int f,\n g *h);\n' \
    >>core/base/a.h
finds sizes 'tb_f: 7 parameters, at most 6'
cat >>core/base/a.c <<'END'
int f(int v)
{
    if (v) {
        for (;;) {
            do {
                switch (v) {
                case 1: {
                    v = (int[]){1, 2}[0];
                }
                }
            } while (v);
        }
    }
}
END
finds sizes 'core/base/a.c:20: 5 levels of nesting'

mkdir -p tests/lint
{
    printf '/* core/base/b.h - text; The includer defines X. */\n'
    printf 'int f(void) { return X; }\n'
} >core/base/b.h
if check headers && check comments; then
    echo "ok: a text to include is no header"
else
    echo "not ok: a text to include is no header:"
    cat "$tmp/out"
    failures=$((failures + 1))
fi
tree
printf 'int tb_f(int a, int b, int c, int d, int e, int f, int g);\n' \
    >>core/base/a.h
mkdir -p tests/lint
printf '# why\n\ntb_f: 7 parameters\n' >tests/lint/waivers.txt
if check sizes; then
    echo "ok: a waiver is heard"
else
    echo "not ok: a waiver is heard"
    failures=$((failures + 1))
fi
tree

printf 'int tb_b(int v);\n' >>core/base/a.h
sed -i 's/^#endif//' core/base/a.h
finds comments 'core/base/a.h:9: no comment above this prototype'
sed -i '1d' core/base/a.h
finds comments 'core/base/a.h:1: the first line must begin'

printf 'void f(void)\n{\n    strcpy(a, b);\n}\n' >>core/base/a.c
finds banned 'core/base/a.c:16: strcpy() is banned'
printf 'void f(void)\n{\n    p = malloc(1);\n}\n' >>core/base/a.c
finds banned 'malloc(): only core/base/mem.c'
printf 'void f(void)\n{\n    goto out;\n}\n' >>core/base/a.c
finds banned 'goto out: the one label'

printf '/* x */\nsize_t tb_b(void);\n' >core/base/b.h
finds headers 'core/base/b.h:2:1: error: unknown type'
printf 'int  x;\n' >>core/base/a.c
finds format 'core/base/a.c:14'
printf 'see iss''ue 7\n' >scripts/notes.txt
finds words 'scripts/notes.txt:1'
printf '#!/bin/bash\nif true\n' >scripts/x
finds shell 'scripts/x:1: does not parse'
printf '#!/bin/bash\n' >scripts/x
finds shell 'scripts/x:1: is not executable'

[ "$failures" -eq 0 ] || {
    echo "$failures self-tests failed"
    exit 1
}
