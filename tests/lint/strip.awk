# strip.awk - C source with comments, texts, character constants and
# preprocessor lines blanked out, line by line, so that what is left is code.
function blank(n,    s) {
    s = ""
    while (n-- > 0) {
        s = s " "
    }
    return s
}
FNR == 1 { in_comment = 0; in_directive = 0 }
{
    line = $0
    if (!in_comment && (in_directive || line ~ /^[ \t]*#/)) {
        in_directive = line ~ /\\$/
        if (line !~ /\/\*/ || line ~ /\*\//) {
            print ""
            next
        }
        in_comment = 1
        print ""
        next
    }
    out = ""
    while (line != "") {
        if (in_comment) {
            at = index(line, "*/")
            if (at == 0) {
                break
            }
            out = out blank(at + 1)
            line = substr(line, at + 2)
            in_comment = 0
            continue
        }
        at = match(line, /\/\*|\/\/|"|'/)
        if (at == 0) {
            out = out line
            break
        }
        out = out substr(line, 1, at - 1)
        mark = substr(line, at, RLENGTH)
        line = substr(line, at + RLENGTH)
        if (mark == "/*") {
            out = out "  "
            in_comment = 1
        } else if (mark == "//") {
            break
        } else {
            end = mark == "\"" ? "^([^\"\\\\]|\\\\.)*\"" : "^([^'\\\\]|\\\\.)*'"
            if (match(line, end)) {
                out = out mark blank(RLENGTH - 1) mark
                line = substr(line, RLENGTH + 1)
            } else {
                break
            }
        }
    }
    print out
}
