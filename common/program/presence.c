#include "common/program/presence.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/base/version.h"
#include "common/base/wakeup.h"
#include "common/job/record.h"
#include "common/ledger/hosts.h"

#define FORMAT_INTERVAL_MS 60000
#define RETRY_MS 1000 /* of the first heartbeat */

struct presence {
    struct ledger *ledger;
    struct ledger_program self; /* `waiting` apart: */
    bool waiting;               /* atomic */
    pthread_mutex_t lock;       /* guards classes */
    char classes[LEDGER_PROGRAM_CLASSES];
    struct wakeup stop;
    struct threads thread; /* has what follows, once it runs */
    int64_t version;       /* of the heartbeat's cell; 0 before the first */
    int64_t format_due_ms; /* monotonic */
    bool written;          /* atomic; at least once */
    int64_t format;        /* atomic */
    bool drained;          /* atomic */
};

bool presence_drained(const struct presence *p)
{
    return __atomic_load_n(&p->drained, __ATOMIC_ACQUIRE);
}

int64_t presence_format(const struct presence *p)
{
    return __atomic_load_n(&p->format, __ATOMIC_ACQUIRE);
}

bool presence_written(const struct presence *p)
{
    return __atomic_load_n(&p->written, __ATOMIC_ACQUIRE);
}

const struct ledger_program *presence_self(const struct presence *p)
{
    return &p->self;
}

void presence_set_waiting(struct presence *p, bool waiting)
{
    __atomic_store_n(&p->waiting, waiting, __ATOMIC_RELEASE);
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

/* Its cell is made again if a reaper removed it while this host had no heartbeat. */
static void update_host(struct presence *p)
{
    struct err e = {0};
    struct ledger_host h;
    if (ledger_host_get(p->ledger, p->self.host, &h, &e) != 0 ||
        (strcmp(h.name, p->self.host_name) != 0 &&
         ledger_host_seen(p->ledger, p->self.host, p->self.host_name, &e) != 0)) {
        log_debug("program_report_failed", LOG_ERR(&e));
        return;
    }
    bool drained = h.drained_ms != 0;
    if (drained != presence_drained(p)) {
        log_info(drained ? "host_drained" : "host_undrained", LOG_STR("host", p->self.host),
                 LOG_STR("name", p->self.host_name));
        __atomic_store_n(&p->drained, drained, __ATOMIC_RELEASE);
    }
}

static void beat(struct presence *p)
{
    struct err e = {0};
    struct ledger_program now = p->self;
    now.waiting = __atomic_load_n(&p->waiting, __ATOMIC_ACQUIRE);
    pthread_mutex_lock(&p->lock);
    memcpy(now.classes, p->classes, sizeof now.classes);
    pthread_mutex_unlock(&p->lock);
    if (ledger_program_beat(p->ledger, &now, &p->version, &e) == 0) {
        __atomic_store_n(&p->written, true, __ATOMIC_RELEASE);
    } else {
        log_debug("program_report_failed", LOG_ERR(&e));
    }
    if (p->self.is_host) {
        update_host(p);
    }
    if (clock_mono_ms() >= p->format_due_ms) {
        update_record_format(p);
        p->format_due_ms = clock_mono_ms() + FORMAT_INTERVAL_MS;
    }
}

static void *beat_until_stopped(void *arg)
{
    struct presence *p = arg;
    while (!wakeup_sleep(&p->stop, presence_written(p) ? p->self.interval_ms : RETRY_MS)) {
        beat(p);
    }
    return NULL;
}

static void list_classes(const struct presence_classes *all, char out[LEDGER_PROGRAM_CLASSES])
{
    static const char more[] = ",...";
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < all->config->class_count; i++) {
        const char *name = all->config->classes[i].name;
        if (all->serves != NULL && !all->serves(all->arg, name)) {
            continue;
        }
        if (used + strlen(name) + sizeof more + 1 > LEDGER_PROGRAM_CLASSES) {
            memcpy(out + used, more, sizeof more);
            return;
        }
        int n =
            snprintf(out + used, LEDGER_PROGRAM_CLASSES - used, "%s%s", used > 0 ? "," : "", name);
        ASSERT(n > 0);
        used += (size_t)n;
    }
}

void presence_set_classes(struct presence *p, const struct presence_classes *classes)
{
    pthread_mutex_lock(&p->lock);
    list_classes(classes, p->classes);
    pthread_mutex_unlock(&p->lock);
}

static void name_self(struct ledger_program *self, const char *program, const struct host *host,
                      const struct config *c)
{
    char unique[17];
    random_hex(unique, 8);
    *self = (struct ledger_program){.oldest_format = 1,
                                    .newest_format = record_newest_format(),
                                    .interval_ms = c->heartbeat_interval_ms,
                                    .is_host = host->has_id};
    (void)snprintf(self->id, sizeof self->id, "%.23s/%.71s/%s", program, host->id, unique);
    (void)snprintf(self->program, sizeof self->program, "%s", program);
    (void)snprintf(self->version, sizeof self->version, "%.31s", mayfly_version);
    memcpy(self->host, host->id, sizeof self->host);
    memcpy(self->host_name, host->name, sizeof self->host_name);
    memcpy(self->boot_id, host->boot_id, sizeof self->boot_id);
    memcpy(self->pid_namespace, host->pid_namespace, sizeof self->pid_namespace);
}

int presence_start(struct ledger *l, const char *program, const struct host *host,
                   const struct presence_classes *classes, struct presence **out, struct err *e)
{
    struct presence *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    p->ledger = l;
    p->format = 1;
    p->format_due_ms = clock_mono_ms();
    ASSERT(pthread_mutex_init(&p->lock, NULL) == 0);
    name_self(&p->self, program, host, classes->config);
    presence_set_classes(p, classes);
    wakeup_init(&p->stop);
    beat(p);
    if (threads_start(&p->thread, 1, "the thread of this program's heartbeat", beat_until_stopped,
                      p, e) != 0) {
        wakeup_fini(&p->stop);
        pthread_mutex_destroy(&p->lock);
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
    pthread_mutex_destroy(&p->lock);
    free(p);
}
