#include "deploy/ctl/cli/report.h"

#include <stdio.h>

#include "common/base/printable.h"
#include "deploy/ctl/ctl.h"

#define LINE_LIMIT_BYTES ((size_t)256 * 1024)

const char *report_subject(const struct err *e)
{
    static const char *const names[] = {
        [ERR_FROM_US] = "command",    [ERR_FROM_LEDGER] = "ledger",     [ERR_FROM_QUEUE] = "queue",
        [ERR_FROM_PROXY] = "proxy",   [ERR_FROM_KMS] = "kms",           [ERR_FROM_APP] = "github",
        [ERR_FROM_GITHUB] = "github", [ERR_FROM_PROVIDER] = "provider", [ERR_FROM_HOST] = "host",
    };
    return names[e->from];
}

const char *report_action(const struct err *e)
{
    switch (e->class) {
    case ERR_RETRY:
        return "check that it runs and that this host reaches it, then try again";
    case ERR_THROTTLED:
        return "it limits its calls: try again later";
    case ERR_CAPACITY:
        return "it is full: make room, then try again";
    case ERR_AUTH:
        return "fix what the error names, or run mayflyctl as a user with access, such as the "
               "daemons' own";
    case ERR_NOT_FOUND:
        return "check the name";
    case ERR_CONFLICT:
        return "look at its present state, then repeat the command if it is still wanted";
    case ERR_PERMANENT:
    case ERR_NONE:
        break;
    }
    return "change the command or the configuration as the error says";
}

json_t *report_object(const struct err *e)
{
    return json_pack("{s:o, s:s, s:s, s:s}", "error", ctl_text(e->message), "error_class",
                     err_class_name(e->class), "subject", report_subject(e), "action",
                     report_action(e));
}

static void print_object(struct slice error, const char *class, const char *subject,
                         const char *action)
{
    struct buf line;
    buf_init(&line, LINE_LIMIT_BYTES);
    buf_append_cstr(&line, "{\"error\":");
    buf_append_json(&line, error);
    buf_append_cstr(&line, ",\"error_class\":");
    buf_append_json(&line, slice_of(class));
    buf_append_cstr(&line, ",\"subject\":");
    buf_append_json(&line, slice_of(subject));
    buf_append_cstr(&line, ",\"action\":");
    buf_append_json(&line, slice_of(action));
    fprintf(stderr, "%s}\n", line.failed ? "{\"error\":\"too long to print\"" : line.data);
    buf_fini(&line);
}

int report_usage(const struct err *e, bool json)
{
    if (json) {
        print_object(slice_of(e->message), "usage", "command", "see mayflyctl --help");
    } else {
        printable_line(stderr, "mayflyctl: %s", e->message);
    }
    return CTL_EXIT_USAGE;
}

int report_config(struct slice complaints, bool json)
{
    if (json) {
        print_object(complaints, err_class_name(ERR_PERMANENT), "configuration",
                     "fix what each line names");
    } else {
        fputs("mayflyctl: ", stderr);
        printable_lines(stderr, complaints);
    }
    return CTL_EXIT_FAILED;
}

/* Where the message alone leaves it open. */
static bool needs_action(const struct err *e)
{
    return e->class == ERR_RETRY || e->class == ERR_THROTTLED || e->class == ERR_CAPACITY ||
           e->class == ERR_AUTH;
}

int report_failure(const struct err *e, bool json)
{
    const char *subject = report_subject(e);
    if (json) {
        print_object(slice_of(e->message), err_class_name(e->class), subject, report_action(e));
    } else if (e->from != ERR_FROM_US && needs_action(e)) {
        printable_line(stderr, "mayflyctl: %s", e->message);
        printable_line(stderr, "mayflyctl: trouble of the %s: %s", subject, report_action(e));
    } else {
        printable_line(stderr, "mayflyctl: %s", e->message);
    }
    return CTL_EXIT_FAILED;
}
