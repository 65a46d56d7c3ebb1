# Text into roff.

# plain TEXT: no escape is in it.
function plain(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    return text
}
# put LINE: it is no request.
function put(line) {
    print (line ~ /^[.']/ ? "\\&" line : line)
}
