# strip.awk - strip(line): a line of C with comments, texts, character constants
# and preprocessor lines blanked out, so that what is left is code. To be
# called for every line of a file in turn.
function blank(n,    s) {
    s = ""
    while (n-- > 0) {
        s = s " "
    }
    return s
}

# What is left of a line that may begin inside a comment.
function strip_code(line,    out, at, mark, end) {
    out = ""
    while (line != "") {
        if (in_comment) {
            at = index(line, "*/")
            if (at == 0) {
                return out
            }
            out = out blank(at + 1)
            line = substr(line, at + 2)
            in_comment = 0
            continue
        }
        at = match(line, /\/\*|\/\/|"|'/)
        if (at == 0) {
            return out line
        }
        mark = substr(line, at, RLENGTH)
        out = out substr(line, 1, at - 1)
        line = substr(line, at + RLENGTH)
        if (mark == "//") {
            return out
        }
        if (mark == "/*") {
            out = out "  "
            in_comment = 1
            continue
        }
        end = mark == "\"" ? "^([^\"\\\\]|\\\\.)*\"" : "^([^'\\\\]|\\\\.)*'"
        if (!match(line, end)) {
            return out
        }
        out = out mark blank(RLENGTH - 1) mark
        line = substr(line, RLENGTH + 1)
    }
    return out
}

function strip(line) {
    if (FNR == 1) {
        in_comment = in_directive = 0
    }
    if (!in_comment && (in_directive || line ~ /^[ \t]*#/)) {
        in_directive = line ~ /\\$/
        in_comment = line ~ /\/\*/ && line !~ /\*\//
        return ""
    }
    return strip_code(line)
}
