/*
 * `mayflyctl pause CLASS` and `resume CLASS` (common/ledger/pauses.h).
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/ledger/pauses.h"
#include "deploy/ctl/ctl.h"

void ctl_operator(char *out, size_t size)
{
    char host[64] = "";
    const char *sudo = getenv("SUDO_USER");
    const struct passwd *p = sudo == NULL ? getpwuid(geteuid()) : NULL;
    const char *user = sudo != NULL ? sudo : p != NULL ? p->pw_name : "unknown";
    if (gethostname(host, sizeof host - 1) != 0) {
        host[0] = '\0';
    }
    (void)snprintf(out, size, "%.32s%s%.60s", user, host[0] != '\0' ? "@" : "", host);
}

static void describe_pause(const struct ledger_pause *p, char *out, size_t size)
{
    char since[32];
    clock_format_utc(p->since_ms, since, sizeof since);
    (void)snprintf(out, size, "since %s by %s%s%s", since, p->by, p->reason[0] != '\0' ? ": " : "",
                   p->reason);
}

int ctl_pause(struct ctl *c, json_t **out, struct err *e)
{
    const char *class_name = c->argv[0];
    struct ledger_pause p;
    bool began = false;
    char by[sizeof p.by];
    char what[500];
    char did[700 + CONFIG_CTL_SIZE];
    char command[CONFIG_CTL_SIZE];
    const char *reason = ctl_option(c, "--reason");
    if (config_class_by_name(c->config, slice_of(class_name)) == NULL) {
        return ctl_refuse_class(c, class_name, e);
    }
    ctl_operator(by, sizeof by);
    if (ledger_pause_begin(c->ledger, class_name, by, reason != NULL ? reason : "", &p, &began,
                           e) != 0) {
        return -1;
    }
    describe_pause(&p, what, sizeof what);
    const char *did_what = began            ? "is paused"
                           : reason != NULL ? "was paused already, and has this reason now:"
                                            : "was paused already:";
    (void)snprintf(did, sizeof did, "class %s %s %s; its jobs wait until: %s resume %s", class_name,
                   did_what, what, config_ctl(c->config, command), class_name);
    *out = json_pack("{s:s, s:b, s:o, s:o, s:o, s:o}", "class", class_name, "changed",
                     began || reason != NULL, "since", ctl_time(p.since_ms), "by", ctl_text(p.by),
                     "reason", ctl_text(p.reason), "did", ctl_text(did));
    return 0;
}

int ctl_resume(struct ctl *c, json_t **out, struct err *e)
{
    const char *class_name = c->argv[0];
    struct ledger_pause was;
    char what[500];
    char did[700];
    if (ledger_pause_end(c->ledger, class_name, &was, e) != 0) {
        return -1;
    }
    bool known = config_class_by_name(c->config, slice_of(class_name)) != NULL;
    if (was.since_ms == 0 && !known) {
        return ctl_refuse_class(c, class_name, e);
    }
    describe_pause(&was, what, sizeof what);
    (void)snprintf(did, sizeof did, "class %s %s%s%s", class_name,
                   was.since_ms != 0 ? "is resumed; it was paused " : "was not paused",
                   was.since_ms != 0 ? what : "",
                   was.since_ms != 0 && !known ? "; it is not configured" : "");
    *out = json_pack("{s:s, s:b, s:o, s:o}", "class", class_name, "changed", was.since_ms != 0,
                     "paused_since", ctl_time(was.since_ms), "did", ctl_text(did));
    return 0;
}
