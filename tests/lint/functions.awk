# functions.awk - walks stripped C source (strip.awk) token by token and prints
# functions that are too long, too deeply nested or take too many parameters,
# and lines and files that are too long.
# A brace counts as nesting when it opens a block: after a controlling (...),
# else, do, a label or another statement; braces of initialisers do not.
function report(line, text) {
    printf "%s:%d: %s\n", FILENAME, line, text
}

# A file begins: nothing is open.
function begin() {
    depth = parens = in_function = levels = counted = counting = 0
    prev = ";"
    parameters = FILENAME ~ /^core\/tensor\// ? 99 : 6
}

function open_brace() {
    kind = "other"
    if (depth == 0 && prev == ")") {
        kind = "function"
        levels = 0
        from = FNR
    } else if (in_function && (prev == ";" || prev == "{" || prev == "}" ||
               prev == ":" || prev == "else" || prev == "do" ||
               (prev == ")" && closed ~ /^(if|for|while|switch)$/))) {
        kind = "block"
        levels++
        if (levels == 5) {
            report(FNR, "5 levels of nesting, at most 4")
        }
    }
    kinds[++depth] = kind
    if (kind == "function") {
        in_function = 1
    }
}

function close_brace() {
    kind = kinds[depth--]
    if (kind == "block") {
        levels--
    } else if (kind == "function") {
        in_function = 0
        if (FNR - from + 1 > 100) {
            report(from, sprintf("function of %d lines, at most 100",
                                 FNR - from + 1))
        }
    }
}

function word(t) {
    if (t == "(") {
        openers[++parens] = prev
        # the first (...) of a declaration at file level holds its parameters
        counting = depth == 0 && parens == 1 && !counted && prev ~ /^[A-Za-z_]/ &&
                   prev !~ /^(_Static_assert|__attribute__|TB_[A-Z_]*)$/
        if (counting) {
            commas = 0
        }
    } else if (t == ")") {
        closed = openers[parens--]
        if (parens == 0 && counting) {
            counting = 0
            counted = 1
            if (commas + 1 > parameters) {
                report(FNR, sprintf("%s: %d parameters, at most %d", closed,
                                    commas + 1, parameters))
            }
        }
    } else if (t == "," && parens == 1 && counting) {
        commas++
    } else if (t == "{") {
        open_brace()
    } else if (t == "}") {
        close_brace()
    }
    if (depth == 0 && parens == 0 && (t == ";" || t == "}")) {
        counted = 0
    }
    prev = t
}

FNR == 1 {
    begin()
}

{
    text = $0
    gsub(/[\200-\277]/, "", text) # one column a character, not a byte
    if (length(text) > 80) {
        report(FNR, length(text) " columns, at most 80")
    }
    if (FNR == 801) {
        report(FNR, "over 800 lines")
    }
    line = strip($0)
    while (match(line, /[A-Za-z_][A-Za-z_0-9]*|[^ \tA-Za-z_]/)) {
        token = substr(line, RSTART, RLENGTH)
        line = substr(line, RSTART + RLENGTH)
        word(token)
    }
}
