#!/usr/bin/env python3
"""Compares the tables of log events and of metrics with the C sources that use them."""
import pathlib
import re
import sys

TABLE = "common/program/log_events*.c"
TABLES = ["common/program/log_events.c", "common/program/log_events_delivery.c", "common/program/log_events_job.c", "common/program/log_events_kafka.c", "common/program/log_events_sets.c", "common/program/log_events_vm.c", "common/program/log_events_agent.c"]
METRICS = "common/base/metrics_table.c"
LOGGER = {"common/base/log.c", "common/base/log.h"}  # log_write and its macros themselves
STRING = r'"((?:[^"\\]|\\.)*)"'
ERR_FIELDS = {"error", "error_class", "error_code"}
PROGRAMS = {"ingress": "ingress", "worker": "worker", "reaper": "reaper", "deploy/image/agent": "agent"}
# ingress/request.c's log_delivery writes an event of the caller's, with these fields.
WRAPPERS = {"log_delivery": {"status", "reason", "delivery_id", "github_event"}}


def arguments(text, start):
    """The arguments of the call whose parenthesis opens before start."""
    out, depth, at = [""], 1, start
    for token in re.finditer(STRING + r"|[(){}]|,|.", text[start:], re.S):
        t = token.group()
        depth += (t in "({") - (t in ")}")
        if depth == 0:
            return [" ".join(a.split()) for a in out]
        if t == "," and depth == 1:
            out.append("")
        else:
            out[-1] += t
    raise ValueError("a call without its end")


def choices(expression):
    """The alternatives of `c ? a : b`, or the expression itself."""
    return [part.strip() for part in re.split(r"[?:]", expression)][-2:] if "?" in expression else [expression]


def fields_of(args):
    keys = [re.match(r"LOG_(?:STR|SLICE|INT|BOOL)\( ?" + STRING, arg) for arg in args]
    fields = {key.group(1) for key in keys if key}
    return fields | ERR_FIELDS if any(arg.startswith("LOG_ERR(") for arg in args) else fields


def misuse_of_job_ids(args):
    """Ids that `jq 'select(.job_id == N)'` does not find: they are numbers, and named job_id, everywhere."""
    return [arg for arg in args if re.match(r'LOG_(?:STR|SLICE|BOOL)\( ?"job_id"|LOG_\w+\( ?"(?:job|id|jobid)"', arg)]


def calls(text, path):
    """(line, name, level, fields) of each event that the text logs; the name is None if it cannot be read."""
    for m in re.finditer(r"\b(log_(?:debug|info|info_limited|warn|error|write|delivery))\(", text):
        verb, args = m.group(1), arguments(text, m.end())
        line = text.count("\n", 0, m.start()) + 1
        if args[0].startswith("enum log_level"):
            continue  # a wrapper's definition
        levels = [verb[4:].removesuffix("_limited")]
        if verb == "log_write" or verb in WRAPPERS:
            levels = [level.removeprefix("LOG_").lower() for level in choices(args.pop(0))]
        for arg in misuse_of_job_ids(args):
            sys.exit(f"{path}:{line}: {arg}: a job's id is logged as LOG_INT(\"job_id\", …)")
        names = [re.fullmatch(STRING, name) for name in choices(args[0])]
        fields = fields_of(args[1:]) | WRAPPERS.get(verb, set())
        if args[0] == "event" and fields in WRAPPERS.values():
            continue  # log_write within a wrapper
        if None in names:
            yield line, None, args[0], fields
            continue
        for i, name in enumerate(names):
            yield line, name.group(1), levels[i if len(levels) > 1 else 0], fields


def rows(text):
    """name -> (programs, levels, fields) of the table."""
    out = {}
    for m in re.finditer(r"^    \{", text, re.M):
        columns = ["".join(re.findall(STRING, column)) for column in arguments(text, m.end())]
        if len(columns) != 6 or "" in columns:
            sys.exit(f"{TABLE}: the row of {columns[0]} has not six texts")
        out[columns[0]] = tuple(set(column.split(", ")) for column in columns[1:4])
    return out


def unused_metrics():
    """Rows that no code registers; the other way round, registering what is no row aborts."""
    names = re.findall(r'"(mayfly_\w+)"', pathlib.Path(METRICS).read_text())
    sources = [p.read_text() for p in pathlib.Path().glob("*/**/*.c") if p.parts[0] not in ("build", "tests") and str(p) != METRICS]
    return [f"{METRICS}: no code registers {name}" for name in names if not any(f'"{name}"' in text for text in sources)]


def main():
    table = {}
    found, logged = unused_metrics(), {}
    for path in TABLES:
        part = rows(pathlib.Path(path).read_text())
        if list(part) != sorted(part) or set(part) & set(table):
            found.append(f"{path}: the rows are not in alphabetical order, or twice")
        table |= part
    for path in sorted(pathlib.Path().glob("*/**/*.[ch]")):
        if path.parts[0] in ("build", "tests") or str(path) in LOGGER:
            continue
        program = {PROGRAMS[d] for d in PROGRAMS if str(path).startswith(d + "/")}
        for line, name, level, fields in calls(path.read_text(), path):
            where = f"{path}:{line}: {name}"
            if name is None:
                found.append(f"{path}:{line}: the event {level} is not a literal")
            elif name not in table:
                found.append(f"{where} is not in {TABLE}")
            else:
                programs, levels, known = table[name]
                if level not in levels:
                    found.append(f"{where} has level {level}, in {TABLE} {', '.join(sorted(levels))}")
                if not program <= programs:
                    found.append(f"{where} is written by {program}, in {TABLE} by {programs}")
                if not fields <= known:
                    found.append(f"{where} has fields that {TABLE} lacks: {', '.join(sorted(fields - known))}")
                all_levels, all_fields = logged.setdefault(name, (set(), set()))
                all_levels.add(level)
                all_fields |= fields
    for name, (programs, levels, fields) in table.items():
        if name not in logged:
            found.append(f"{TABLE}: no code logs {name}")
            continue
        for extra in sorted(levels - logged[name][0]):
            found.append(f"{TABLE}: no code logs {name} with level {extra}")
        for extra in sorted(fields - logged[name][1]):
            found.append(f"{TABLE}: no code logs {name} with field {extra}")
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
