# A program's --help into SYNOPSIS, OPTIONS and what it says beside them. Before the options: the first part of the file `trailer`.

function section(title) {
    if (title == last_section) return
    if (title == "OPTIONS") description()
    last_section = title
    print ".SH " title
}
function description(    line) {
    while (trailer != "" && (getline line < trailer) > 0 && line != ".\\\" options") print line
    trailer = ""
}
# synopsis LINE: the program is called by its own name.
function synopsis(line,    called) {
    sub(/^[Uu]sage: /, "", line)
    called = line
    sub(/^ +/, "", called)
    sub(/ .*/, "", called)
    if (length(name) > length(called) && substr(name, length(name) - length(called) + 1) == called) sub(called, name, line)
    put(plain(line))
}
# option_row: "  --name VALUE   what it does"; the rest may be on the next line.
function option_row(line,    at) {
    sub(/^ +/, "", line)
    at = match(line, /   */)
    print ".TP\n\\fB" plain(at ? substr(line, 1, RSTART - 1) : line) "\\fR"
    if (at) put(plain(substr(line, RSTART + RLENGTH)))
}

NR == 1 && index($0, name " - ") == 1 { next }
/^$/ { if (part == "usage") print ".fi"; part = ""; next }
/^[Uu]sage: / { section("SYNOPSIS"); print ".nf"; part = "usage"; synopsis($0); next }
part == "usage" && (/^ +mayfly/ || /^                    /) { synopsis($0); next }
part == "usage" { print ".fi"; part = "" }
/^ +-/ { section("OPTIONS"); part = "option"; option_row($0); next }
part == "option" && /^ +/ { sub(/^ +/, ""); put(plain($0)); next }
{
    if (part != "text") { section(/^SIG/ ? "SIGNALS" : "NOTES"); print ".PP" }
    part = "text"
    put(plain($0))
}
