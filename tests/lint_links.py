#!/usr/bin/env python3
"""Relative links of every Markdown file lead to a file, and to one of its headings where they name one."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIPPED = {"build", "node_modules", ".git"}
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]*)\)")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.M)
FENCE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1", re.M | re.S)
CODE = re.compile(r"(`+)[^`]+?\1")


def blank(match):
    """The same lines without their text, so that line numbers stay."""
    return "\n" * match.group().count("\n")


def anchors(text):
    """The ids that GitHub gives the headings."""
    found = set()
    for heading in HEADING.findall(FENCE.sub(blank, text)):
        shown = LINK.sub(lambda m: m.group()[m.group().index("[") + 1 : m.group().rindex("](")], heading)
        base = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        name, n = base, 0
        while name in found:
            n += 1
            name = f"{base}-{n}"
        found.add(name)
    return found


def is_skipped(path):
    return any(part in SKIPPED or part.startswith("build-") for part in path.relative_to(ROOT).parts)


def broken_links(page):
    text = page.read_text(encoding="utf-8")
    prose = CODE.sub(blank, FENCE.sub(blank, text))
    for match in LINK.finditer(prose):
        target, _, anchor = match.group(1).partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        line = prose.count("\n", 0, match.start()) + 1
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or ROOT not in (file, *file.parents):
            yield line, match.group(1), "there is no such file"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield line, match.group(1), f"{file.relative_to(ROOT)} has no heading of that name"


def main():
    pages = sorted(p for p in ROOT.rglob("*.md") if not is_skipped(p))
    bad = [(p, *b) for p in pages for b in broken_links(p)]
    for page, line, link, why in bad:
        print(f"{page.relative_to(ROOT)}:{line}: {link}: {why}")
    return 1 if bad or not pages else 0


sys.exit(main())
