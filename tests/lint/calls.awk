# calls.awk - prints calls of banned functions and labels other than "done" in
# stripped C source (strip.awk). A member of such a name, or the declaration of
# one, is no call. unsafe, heap: names, parted by "|".
function report(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
}

function check_call(name, before) {
    if (before ~ /(\.|->|\(\*)$/) {
        return
    }
    if (name ~ "^(" unsafe ")$") {
        report(name "() is banned")
    } else if (name ~ "^(" heap ")$" && FILENAME != "core/base/mem.c" &&
               FILENAME !~ /^bench\//) {
        report(name "(): only core/base/mem.c touches the heap")
    }
}

{
    code = " " strip($0)
    line = code
    while (match(line, /[^A-Za-z0-9_][A-Za-z_][A-Za-z0-9_]*[ \t]*\(/)) {
        name = substr(line, RSTART + 1, RLENGTH - 2)
        before = substr(line, 1, RSTART)
        line = substr(line, RSTART + RLENGTH - 1)
        gsub(/[ \t]/, "", name)
        check_call(name, before)
    }
    if (match(code, /goto +[A-Za-z_0-9]+/)) {
        label = substr(code, RSTART + 4, RLENGTH - 4)
        gsub(/ /, "", label)
        if (label != "done" && FILENAME !~ /^(tests|bench)\//) {
            report("goto " label ": the one label is \"done\"")
        }
    }
}
