/*
 * `mayflyctl upgrade finish`: raises the format in which workers and reapers write records to the
 * newest of this release, once every program that has reported can read it.
 */
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/job/record.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/ctl.h"

/* Appends the program if it cannot read the format. */
static void name_if_too_old(struct buf *out, const struct ledger_program *p, int64_t format)
{
    if (p->oldest_format <= format && format <= p->newest_format) {
        return;
    }
    buf_printf(out, "%s%s (version %s, reads formats %lld to %lld)", out->len > 0 ? ", " : "",
               p->id, p->version, (long long)p->oldest_format, (long long)p->newest_format);
}

static int check_all_can_read(const struct ledger_program *programs, size_t n, int64_t format,
                              struct err *e)
{
    struct buf who;
    if (n == 0) {
        return err_set(e, ERR_PERMANENT, 0,
                       "no worker and no reaper has reported within five minutes: nobody says that "
                       "it can read format %lld. Start them, then try again",
                       (long long)format);
    }
    buf_init(&who, 480);
    for (size_t i = 0; i < n; i++) {
        name_if_too_old(&who, &programs[i], format);
    }
    int rc = 0;
    if (who.len > 0 || who.failed) {
        rc = err_set(e, ERR_PERMANENT, 0,
                     "these programs cannot read format %lld yet: %s%s. Upgrade them; one that was "
                     "killed is forgotten after five minutes",
                     (long long)format, who.data != NULL ? who.data : "",
                     who.failed ? ", and more" : "");
    }
    buf_fini(&who);
    return rc;
}

int ctl_upgrade_finish(struct ctl *c, json_t **out, struct err *e)
{
    struct ledger_program *programs = NULL;
    size_t n = 0;
    int64_t was = 0;
    int64_t format = record_newest_format();
    if (ledger_program_list(c->ledger, &programs, &n, e) != 0) {
        return -1;
    }
    int rc = check_all_can_read(programs, n, format, e);
    free(programs);
    if (rc != 0 || ledger_format_get(c->ledger, &was, e) != 0 ||
        ledger_format_raise(c->ledger, format, e) != 0) {
        return -1;
    }
    struct buf did;
    buf_init(&did, 600);
    buf_printf(&did,
               "workers and reapers write record format %lld now (before: %lld), within a minute. "
               "The ingresses: when all of them are upgraded, set ingress.record_format to %lld "
               "and reload them",
               (long long)(was > format ? was : format), (long long)was, (long long)format);
    *out = json_pack("{s:I, s:I, s:s}", "format", (json_int_t)(was > format ? was : format), "was",
                     (json_int_t)was, "did", did.data);
    buf_fini(&did);
    return 0;
}
