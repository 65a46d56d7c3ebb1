#include "common/program/claim.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/wakeup.h"

#define STEP_MS 100
#define RETRY_MS 1000

struct heartbeats {
    struct ledger_program *list;
    size_t count;
};

/* False when a stop was requested. */
static bool sleep_until(int64_t until_ms)
{
    int64_t now_ms;
    while (!signals_stop_pending() && (now_ms = clock_mono_ms()) < until_ms) {
        clock_sleep_until(now_ms + STEP_MS < until_ms ? now_ms + STEP_MS : until_ms);
    }
    return !signals_stop_pending();
}

/* Without the ledger nothing can be concluded; nor before the own heartbeat is in it, since of two that
 * write first and then read at least one sees the other. False when a stop was requested. */
static bool read_heartbeats(struct ledger *l, const struct presence *p, struct heartbeats *out)
{
    struct err e = {0};
    while (!presence_written(p) || ledger_program_list(l, &out->list, &out->count, &e) != 0) {
        if (e.class != ERR_NONE) {
            log_debug("program_list_failed", LOG_ERR(&e));
        }
        if (!sleep_until(clock_mono_ms() + RETRY_MS)) {
            return false;
        }
    }
    return true;
}

static bool is_rival(const struct ledger_program *self, const struct ledger_program *p)
{
    bool same = p->is_host && strcmp(p->host, self->host) == 0 &&
                strcmp(p->program, self->program) == 0 && strcmp(p->id, self->id) != 0;
    bool elsewhere = strcmp(p->boot_id, self->boot_id) != 0 ||
                     strcmp(p->pid_namespace, self->pid_namespace) != 0;
    return same && elsewhere;
}

static const struct ledger_program *find_rival(const struct ledger_program *self,
                                               const struct heartbeats *all)
{
    for (size_t i = 0; i < all->count; i++) {
        if (is_rival(self, &all->list[i])) {
            return &all->list[i];
        }
    }
    return NULL;
}

static const struct ledger_program *find_advancing(const struct ledger_program *self,
                                                   const struct heartbeats *before,
                                                   const struct heartbeats *now)
{
    for (size_t i = 0; i < now->count; i++) {
        for (size_t k = 0; is_rival(self, &now->list[i]) && k < before->count; k++) {
            if (strcmp(before->list[k].id, now->list[i].id) == 0 &&
                before->list[k].at_ms != now->list[i].at_ms) {
                return &now->list[i];
            }
        }
    }
    return NULL;
}

static int64_t ttl_ms(const struct ledger_program *self, const struct ledger_program *rival)
{
    int64_t interval_ms =
        rival->interval_ms > self->interval_ms ? rival->interval_ms : self->interval_ms;
    return interval_ms * LEDGER_HEARTBEATS_PER_TTL;
}

static int refuse(const struct ledger_program *self, const struct ledger_program *other,
                  struct err *e)
{
    return err_set(e, ERR_CONFLICT, 0,
                   "the host id %s belongs to another %s, which runs on %s (boot %s): if this "
                   "host's disk is a copy, remove host-id in its state_dir; processes that share a "
                   "state_dir need one process namespace",
                   self->host, self->program, other->host_name, other->boot_id);
}

/* Heartbeats are compared over all but the first interval: what ended while this process started may
 * have written one in that. */
static int wait_for_rival(struct ledger *l, const struct presence *p, int64_t wait_ms,
                          struct err *e)
{
    const struct ledger_program *self = presence_self(p);
    struct heartbeats first = {.count = 0};
    struct heartbeats end = {.count = 0};
    int64_t begin_ms = clock_mono_ms();
    int rc = 0;
    if (sleep_until(begin_ms + wait_ms / LEDGER_HEARTBEATS_PER_TTL) &&
        read_heartbeats(l, p, &first) && find_rival(self, &first) != NULL &&
        sleep_until(begin_ms + wait_ms) && read_heartbeats(l, p, &end)) {
        const struct ledger_program *other = find_advancing(self, &first, &end);
        rc = other != NULL ? refuse(self, other, e) : 0;
    }
    free(first.list);
    free(end.list);
    return rc;
}

int host_claim(struct ledger *l, struct presence *p, bool *stopped, struct err *e)
{
    const struct ledger_program *self = presence_self(p);
    struct heartbeats all = {.count = 0};
    int rc = 0;
    if (self->is_host && read_heartbeats(l, p, &all)) {
        const struct ledger_program *other = find_rival(self, &all);
        if (other != NULL) {
            int64_t wait_ms = ttl_ms(self, other);
            log_warn("host_id_in_use", LOG_STR("host", self->host),
                     LOG_STR("other_host", other->host_name), LOG_STR("boot", other->boot_id),
                     LOG_INT("wait_ms", wait_ms),
                     LOG_STR("action", "this program waits, and exits if the other's heartbeat "
                                       "still advances then"));
            presence_set_waiting(p, true);
            rc = wait_for_rival(l, p, wait_ms, e);
            presence_set_waiting(p, false);
        }
    }
    free(all.list);
    *stopped = signals_stop_pending();
    return rc;
}
