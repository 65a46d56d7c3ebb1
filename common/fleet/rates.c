/* The rates of the providers' services: one bucket of the ledger for each kind of call and
 * domain. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fleet/caps.h"
#include "common/fleet/internal.h"

#define TOKEN_WAIT_MAX_MS 5000    /* of a read */
#define THROTTLED_DEFAULT_MS 1000 /* if the service named no time */
#define BUCKET_MAX 128
#define LIST_SLOWER_MS 60000
#define LIST_HALVINGS_MAX 5

static struct metric *call_metric(enum vm_call call, const char *name)
{
    struct buf label;
    buf_init(&label, 64);
    metrics_label(&label, "call", vm_call_name(call));
    struct metric *m = metrics_counter(name, label.data);
    buf_fini(&label);
    return m;
}

static void count_wait(enum vm_call call, int64_t wait_ms)
{
    if (wait_ms > 0) {
        metric_inc(call_metric(call, "mayfly_fleet_rate_waits_total"));
    }
}

/* VMs of one host share the host's rate. */
static void bucket_name(const struct fleet_class *class, enum vm_call call, char out[BUCKET_MAX])
{
    const char *domain = vm_domain(class->provider);
    int n = domain[0] != '\0'
                ? snprintf(out, BUCKET_MAX, "%s/%s", vm_call_name(call), domain)
                : snprintf(out, BUCKET_MAX, "%s/host/%s", vm_call_name(call), class->fleet->host);
    ASSERT(n > 0 && n < BUCKET_MAX);
}

static int take_token(const struct fleet_class *class, enum vm_call call,
                      const struct config_rate *rate, int64_t *wait_ms, struct err *e)
{
    char name[BUCKET_MAX];
    bool changes = call == VM_CALL_RUN || call == VM_CALL_TERMINATE;
    bucket_name(class, call, name);
    const struct config_rate own =
        changes && !vm_host_bound(class->provider) ? fleet_service_rate(*rate) : *rate;
    struct ledger_bucket bucket = {.name = name, .per_second = own.per_second, .burst = own.burst};
    int rc = ledger_rate_take(class->fleet->ledger, &bucket, 1, wait_ms, e);
    if (rc == 0) {
        count_wait(call, *wait_ms);
    }
    return rc;
}

int fleet_advance_registered(struct fleet *f, const char *place, const struct config_rate *rate,
                             const struct ledger_advance *a, int64_t *wait_ms, struct err *e)
{
    char name[BUCKET_MAX];
    const struct fleet_class *class = fleet_class_find(f, place);
    *wait_ms = 0;
    if (class == NULL || vm_host_bound(class->provider)) {
        return ledger_vm_advance(f->ledger, a, NULL, e);
    }
    const struct config_rate own = fleet_service_rate(*rate);
    const struct ledger_bucket pace = {
        .name = name, .per_second = own.per_second, .burst = own.burst};
    bucket_name(class, VM_CALL_RUN, name);
    return ledger_vm_advance_paced(f->ledger, a, &pace, wait_ms, e);
}

int fleet_terminate_turn(struct fleet *f, const char *place, const struct config_rate *rate,
                         int64_t *wait_ms, struct err *e)
{
    const struct fleet_class *class = fleet_class_find(f, place);
    if (class == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "class %s is not configured here", place);
    }
    return take_token(class, VM_CALL_TERMINATE, rate, wait_ms, e);
}

void fleet_interrupt(struct fleet *f)
{
    wakeup_raise(&f->calls);
}

/* --- the pace of a provider --- */

/* Of list_rate now; it doubles again with each quiet minute. */
static int list_halvings(const struct fleet *f)
{
    int64_t minutes = (clock_mono_ms() - f->list_slower_ms) / LIST_SLOWER_MS;
    return minutes >= f->list_halvings ? 0 : f->list_halvings - (int)minutes;
}

static void halve_list_rate(struct fleet *f)
{
    pthread_mutex_lock(&f->slower);
    int now = list_halvings(f);
    f->list_halvings = now < LIST_HALVINGS_MAX ? now + 1 : now;
    f->list_slower_ms = clock_mono_ms();
    pthread_mutex_unlock(&f->slower);
}

/* No quota of lists is published, so the service's answers teach the rate. */
static struct config_rate read_rate(struct fleet *f, enum vm_call call)
{
    struct config_rate rate = call == VM_CALL_LIST ? f->list_rate : f->describe_rate;
    pthread_mutex_lock(&f->slower);
    for (int i = call == VM_CALL_LIST ? list_halvings(f) : 0; i > 0; i--) {
        rate.per_second /= 2;
        rate.burst = rate.burst > 1 ? rate.burst / 2 : 1;
    }
    pthread_mutex_unlock(&f->slower);
    return rate;
}

static int wait_for_token(void *arg, enum vm_call call, struct err *e)
{
    const struct fleet_class *class = arg;
    struct fleet *f = class->fleet;
    int64_t give_up = clock_mono_ms() + TOKEN_WAIT_MAX_MS;
    for (;;) {
        int64_t wait_ms = 0;
        const struct config_rate rate = read_rate(f, call);
        if (take_token(class, call, &rate, &wait_ms, e) != 0) {
            (void)err_said_by(e, ERR_FROM_LEDGER);
            return err_wrap(e, "the rate of %s calls is not known", vm_call_name(call));
        }
        if (wait_ms == 0) {
            return 0;
        }
        if (clock_mono_ms() + wait_ms > give_up || wakeup_sleep(&f->calls, wait_ms)) {
            (void)err_set(
                e, ERR_RETRY, 0,
                "the fleet's rate of %s calls is used up for the next %lld ms: it is "
                "tried again later; raise limits.%s_rate if the account's quota allows it",
                vm_call_name(call), (long long)wait_ms, vm_call_name(call));
            e->retry_after_ms = wait_ms;
            return err_said_by(e, ERR_FROM_LEDGER); /* no call was made */
        }
    }
}

static void pause_bucket(struct fleet *f, const char *name, int64_t until_ms)
{
    struct err e = {0};
    if (ledger_rate_pause(f->ledger, name, until_ms, &e) != 0) {
        log_warn("rate_pause_failed", LOG_STR("bucket", name), LOG_ERR(&e),
                 LOG_STR("action", "each process pauses when the provider throttles it"));
    }
}

/* The service counts launches over its domain, the ledger over targets, or else classes: all of the
 * domain wait. */
static void pause_launches(const struct fleet_class *class, int64_t until_ms)
{
    struct fleet *f = class->fleet;
    for (const struct fleet_class *of = fleet_first_class(f); of != NULL; of = of->next) {
        char name[BUCKET_MAX];
        if (strcmp(vm_domain(of->provider), vm_domain(class->provider)) == 0) {
            const char *target = strchr(of->name, '@');
            (void)snprintf(name, sizeof name, "launch%s%s", target != NULL ? "" : ".",
                           target != NULL ? target : of->name);
            pause_bucket(f, name, until_ms);
        }
    }
}

static const struct config_rate *rate_of(const struct fleet *f, enum vm_call call)
{
    switch (call) {
    case VM_CALL_RUN:
        return &f->launch_rate;
    case VM_CALL_TERMINATE:
        return &f->terminate_rate;
    case VM_CALL_LIST:
        return &f->list_rate;
    case VM_CALL_DESCRIBE:
        break;
    }
    return &f->describe_rate;
}

/* The service's delay was for one call. All calls of its kind pause no longer than a bucket of that
 * rate takes to fill: by then the service's own is full, and a longer pause would waste the
 * quota. */
static int64_t pause_of(const struct config_rate *rate, int64_t retry_after_ms)
{
    int64_t wanted_ms = retry_after_ms > 0 ? retry_after_ms : THROTTLED_DEFAULT_MS;
    if (rate->per_second <= 0) {
        return wanted_ms;
    }
    double full_ms = 1000.0 * (double)rate->burst / rate->per_second;
    return full_ms < (double)wanted_ms ? (int64_t)full_ms : wanted_ms;
}

static void pause_calls(void *arg, enum vm_call call, int64_t retry_after_ms)
{
    const struct fleet_class *class = arg;
    int64_t pause_ms = pause_of(rate_of(class->fleet, call), retry_after_ms);
    int64_t until_ms = clock_wall_ms() + pause_ms;
    metric_inc(call_metric(call, "mayfly_fleet_throttled_total"));
    log_warn("provider_throttled", LOG_STR("call", vm_call_name(call)),
             LOG_STR("class", class->name), LOG_STR("domain", vm_domain(class->provider)),
             LOG_INT("pause_ms", pause_ms),
             LOG_STR("action", "all processes pause these calls for pause_ms"));
    if (call == VM_CALL_RUN) {
        pause_launches(class, until_ms);
    } else {
        if (call == VM_CALL_LIST) {
            halve_list_rate(class->fleet);
        }
        char name[BUCKET_MAX];
        bucket_name(class, call, name);
        pause_bucket(class->fleet, name, until_ms);
    }
}

struct vm_pace fleet_pace_of(struct fleet_class *class)
{
    return (struct vm_pace){.arg = class, .wait = wait_for_token, .throttled = pause_calls};
}
