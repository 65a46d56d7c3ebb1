#include "common/program/presence.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/base/wakeup.h"
#include "common/job/record.h"
#include "common/ledger/programs.h"

struct presence {
    struct ledger *ledger;
    struct ledger_program self;
    struct wakeup stop;
    struct threads thread;
    int64_t format; /* atomic */
};

int64_t presence_format(const struct presence *p)
{
    return __atomic_load_n(&p->format, __ATOMIC_ACQUIRE);
}

static void update_record_format(struct presence *p)
{
    struct err e = {0};
    int64_t format;
    if (ledger_format_get(p->ledger, &format, &e) != 0) {
        log_debug("record_format_read_failed", LOG_ERR(&e));
        return;
    }
    if (format > p->self.newest_format) {
        log_warn("newer_version", LOG_INT("format", format),
                 LOG_INT("newest_format", p->self.newest_format),
                 LOG_STR("hint", "upgrade this program: the deployment uses a newer record format; "
                                 "messages that it cannot read are left for upgraded programs"));
        format = p->self.newest_format;
    }
    __atomic_store_n(&p->format, format, __ATOMIC_RELEASE);
}

static void *report_until_stopped(void *arg)
{
    struct presence *p = arg;
    do {
        struct err e = {0};
        if (ledger_program_report(p->ledger, &p->self, &e) != 0) {
            log_debug("program_report_failed", LOG_ERR(&e));
        }
        update_record_format(p);
    } while (!wakeup_sleep(&p->stop, LEDGER_REPORT_INTERVAL_MS));
    return NULL;
}

int presence_start(struct ledger *l, const char *program, const char *host, struct presence **out,
                   struct err *e)
{
    char unique[17];
    struct presence *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    random_hex(unique, 8);
    p->ledger = l;
    p->format = 1;
    p->self = (struct ledger_program){
        .version = MAYFLY_VERSION, .oldest_format = 1, .newest_format = record_newest_format()};
    (void)snprintf(p->self.id, sizeof p->self.id, "%.40s/%.64s/%s", program, host, unique);
    wakeup_init(&p->stop);
    if (threads_start(&p->thread, 1, "the thread that reports this program to the ledger",
                      report_until_stopped, p, e) != 0) {
        wakeup_fini(&p->stop);
        free(p);
        return -1;
    }
    *out = p;
    return 0;
}

void presence_stop(struct presence *p)
{
    struct err e = {0};
    if (p == NULL) {
        return;
    }
    wakeup_raise(&p->stop);
    threads_join(&p->thread);
    if (ledger_program_leave(p->ledger, p->self.id, &e) != 0) {
        log_debug("program_report_delete_failed", LOG_ERR(&e));
    }
    wakeup_fini(&p->stop);
    free(p);
}
