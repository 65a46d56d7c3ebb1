# A reference page, which a table of the code generated as Markdown, into sections, paragraphs and lists of terms.

# inline TEXT: `code` and **strong** in bold, *emphasis* in italics, of [a link](to) the words.
function inline(text,    parts, n, i, out) {
    gsub(/\\\|/, "|", text)
    n = split(text, parts, "`")
    out = ""
    for (i = 1; i <= n; i++) out = out (i % 2 ? words(parts[i]) : "\\fB" plain(parts[i]) "\\fR")
    return out
}
function words(text,    out) {
    out = ""
    while (match(text, /\[[^]]*\]\([^)]*\)/)) {
        out = out substr(text, 1, RSTART - 1) substr(text, RSTART + 1, index(substr(text, RSTART), "](") - 2)
        text = substr(text, RSTART + RLENGTH)
    }
    out = plain(out text)
    out = fonts(out, "\\*\\*", 2, "\\fB")
    return fonts(out, "\\*", 1, "\\fI")
}
# fonts TEXT MARK LENGTH FONT: what stands between two marks in that font.
function fonts(text, mark, length_of_mark, font,    out, opened) {
    out = ""
    opened = 0
    while (match(text, mark)) {
        out = out substr(text, 1, RSTART - 1) (opened ? "\\fR" : font)
        opened = !opened
        text = substr(text, RSTART + length_of_mark)
    }
    return out text
}
# cells LINE: the row's cells into cell[1 …]; returns their number.
function cells(line,    i, n) {
    gsub(/\\\|/, "\001", line)
    sub(/^\| */, "", line)
    sub(/ *\|$/, "", line)
    n = split(line, cell, / *\| */)
    for (i = 1; i <= n; i++) gsub(/\001/, "|", cell[i])
    return n
}
function says_itself(i) {
    return tolower(header[i]) == cell[i] || cell[i] ~ /^\*/ || header[i] == "Type" || header[i] == "Level"
}
# row N: the first cell is the term, the last what it means, those between are said by the names of their columns.
function row(n,    i, facts) {
    print ".TP"
    put(inline(cell[1]))
    facts = ""
    for (i = 2; i < n; i++) {
        if (cell[i] == "") continue
        facts = facts (facts == "" ? "" : "; ") (says_itself(i) ? cell[i] : tolower(header[i]) " " cell[i])
    }
    if (facts != "") put(inline(facts) ".\n.br")
    put(inline(cell[n]))
}

/^# / { next }
/^Generated from / { skip = 1 }
/^$/ { skip = 0; part = ""; next }
skip { next }
/^##+ / {
    request = /^## / ? ".SH " : ".SS "
    sub(/^#+ */, "")
    gsub(/`/, "")
    print request (request == ".SH " ? toupper(plain($0)) : plain($0))
    started = 1
    next
}
!started { print ".SH DESCRIPTION"; started = 1 }
/^\|[-|: ]*\|$/ { next }
/^\|/ {
    n = cells($0)
    if (part == "table") { row(n); next }
    part = "table"
    for (i = 1; i <= n; i++) header[i] = cell[i]
    next
}
/^- / { print ".IP \\(bu 2"; part = "list"; sub(/^- /, ""); put(inline($0)); next }
{
    if (part == "") { print ".PP"; part = "text" }
    sub(/^ +/, "")
    put(inline($0))
}
