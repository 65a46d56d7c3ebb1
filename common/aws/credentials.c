#include "common/aws/credentials.h"

#include <stdlib.h>
#include <string.h>

#include "common/aws/internal.h"
#include "common/aws/sources.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/base/wakeup.h"

#define MARGIN_MS (5 * 60 * 1000)
#define RENEW_MIN_MS 1000
#define RETRY_BASE_MS 1000
#define RETRY_CAP_MS (60 * 1000)
#define FAILURE_HOLDS_MS 1000 /* callers soon after a failure get the same error */
#define REFUSAL_HOLDS_MS (10 * 1000)

struct aws_credentials {
    int users; /* under shared_lock */
    struct aws_credentials *next;
    char *role_arn;               /* that is assumed; NULL: the process's own */
    char *region;                 /* of STS */
    struct aws_credentials *base; /* whose keys assume it */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a lookup ended */
    struct aws_keys keys;   /* the last found; access_key NULL: none yet */
    uint64_t looks;         /* lookups that ended */
    bool looking;
    bool failed;           /* the last lookup */
    struct err failure;    /* its reason */
    int64_t failed_at_ms;  /* monotonic */
    int64_t refused_at_ms; /* monotonic; of the last lookup after a refusal; -1: none */
    int64_t renew_at_ms;   /* monotonic; 0: never */
    int failures;          /* in a row */
    bool renewing;         /* the renewing thread runs */
    pthread_t thread;
    struct wakeup stop;
};

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct aws_credentials *shared; /* the process's own, and one for each role and region */

/* --- the shared instance ---------------------------------------------------------------------- */

/* A role is assumed in each region by itself: when one is lost, the calls to the others go on. */
static bool is_of_role(const struct aws_credentials *c, const char *role_arn, const char *region)
{
    if (c->role_arn == NULL) {
        return role_arn[0] == '\0';
    }
    return strcmp(c->role_arn, role_arn) == 0 && strcmp(c->region, region) == 0;
}

static struct aws_credentials *acquire_locked(const char *role_arn, const char *region)
{
    struct aws_credentials *c = shared;
    while (c != NULL && !is_of_role(c, role_arn, region)) {
        c = c->next;
    }
    if (c != NULL) {
        c->users++;
        return c;
    }
    c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    ASSERT(pthread_mutex_init(&c->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&c->changed, NULL) == 0);
    wakeup_init(&c->stop);
    c->refused_at_ms = -1;
    c->users = 1;
    if (role_arn[0] != '\0') {
        c->role_arn = slice_dup(slice_of(role_arn));
        c->region = slice_dup(slice_of(region));
        c->base = acquire_locked("", "");
    }
    aws_defaults_pin(1);
    c->next = shared;
    shared = c;
    return c;
}

struct aws_credentials *aws_credentials_acquire_role(const char *role_arn, const char *region)
{
    pthread_mutex_lock(&shared_lock);
    struct aws_credentials *c = acquire_locked(role_arn, region);
    pthread_mutex_unlock(&shared_lock);
    return c;
}

struct aws_credentials *aws_credentials_acquire(void)
{
    return aws_credentials_acquire_role("", "");
}

static void free_credentials(struct aws_credentials *c)
{
    wakeup_raise(&c->stop);
    if (c->renewing) {
        ASSERT(pthread_join(c->thread, NULL) == 0);
    }
    wakeup_fini(&c->stop);
    aws_keys_fini(&c->keys);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    aws_credentials_release(c->base);
    free(c->role_arn);
    free(c->region);
    free(c);
    aws_defaults_pin(-1);
}

void aws_credentials_release(struct aws_credentials *c)
{
    if (c == NULL) {
        return;
    }
    pthread_mutex_lock(&shared_lock);
    bool last = --c->users == 0;
    for (struct aws_credentials **at = &shared; last && *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    pthread_mutex_unlock(&shared_lock);
    if (last) {
        free_credentials(c);
    }
}

/* --- lookup ----------------------------------------------------------------------------------- */

int64_t aws_renew_in_ms(int64_t life_ms)
{
    int64_t margin_ms = life_ms / 4 < MARGIN_MS ? life_ms / 4 : MARGIN_MS;
    int64_t jitter_ms =
        margin_ms > 4 ? (int64_t)random_below((uint64_t)margin_ms / 4) : 0; /* towards earlier */
    int64_t wait_ms = life_ms - margin_ms - jitter_ms;
    return wait_ms > RENEW_MIN_MS ? wait_ms : RENEW_MIN_MS;
}

static bool are_keys_valid(const struct aws_credentials *c)
{
    return c->keys.access_key != NULL &&
           (c->keys.expires_ms == 0 || aws_wall_ms() < c->keys.expires_ms);
}

/* A source that does not respond may have new keys and cannot say so. AWS decides whether it takes
 * the old ones, and does during its own outages; the renewing thread goes on asking. AWS's SDKs do
 * the same, and call it static stability. */
static bool are_keys_used_on(const struct aws_credentials *c)
{
    return c->keys.access_key != NULL && c->failed && c->failure.class == ERR_RETRY && c->renewing;
}

static void count_lookup(const char *source, bool ok)
{
    struct buf labels;
    buf_init(&labels, 256);
    metrics_label(&labels, "source", source);
    metrics_label(&labels, "outcome", ok ? "ok" : "failed");
    metric_inc(metrics_counter("mayfly_aws_credential_renewals_total", labels.data));
    buf_fini(&labels);
}

static void show_expiry(const struct aws_keys *k)
{
    metric_set(metrics_gauge("mayfly_aws_credentials_expiry_timestamp_seconds", ""),
               k->expires_ms / 1000);
}

static void *renew_thread(void *arg);

static void hold_keys(struct aws_credentials *c, struct aws_keys *fresh)
{
    aws_keys_fini(&c->keys);
    c->keys = *fresh;
    if (c->role_arn == NULL) {
        show_expiry(fresh);
    }
    if (fresh->expires_ms != 0 && !c->renewing) {
        /* Without the thread, a caller that finds the keys expired looks them up and tries this
         * again. */
        struct err e;
        c->renewing = thread_start(&c->thread, "the thread that renews AWS credentials",
                                   renew_thread, c, &e) == 0;
    }
}

static void store_keys(struct aws_credentials *c, struct aws_keys *fresh)
{
    int64_t life_ms = fresh->expires_ms - aws_wall_ms();
    hold_keys(c, fresh);
    c->failures = 0;
    c->renew_at_ms = c->keys.expires_ms != 0 ? clock_mono_ms() + aws_renew_in_ms(life_ms) : 0;
    wakeup_signal(&c->stop);
}

/* It gives expired keys while it cannot get new ones. */
static bool is_metadata(const char *source)
{
    return strcmp(source, "instance") == 0 || strcmp(source, "container") == 0;
}

/* Keys that were refused may have been renewed since; that is tried once. */
static int assume_role(const struct aws_credentials *c, struct aws_keys *out, struct err *e)
{
    const struct aws_role role = {.arn = c->role_arn, .region = c->region};
    for (bool again = true;; again = false) {
        struct aws_keys with = {0};
        if (aws_credentials_get(c->base, &with, e) != 0) {
            return -1;
        }
        int rc = aws_sts_assume(&role, &with, out, e);
        bool renewed = rc != 0 && again && e->class == ERR_AUTH &&
                       aws_credentials_refused(c->base, with.access_key);
        aws_keys_fini(&with);
        if (!renewed) {
            return rc == 0 ? 0 : err_wrap(e, "role %.200s", c->role_arn);
        }
    }
}

/* One lookup. The lock is held on entry and on return, but not in between. Only one thread looks up
 * at a time: c->looking must be false. */
static void look_up_keys(struct aws_credentials *c)
{
    struct aws_keys fresh = {0};
    struct err e;
    c->looking = true;
    pthread_mutex_unlock(&c->lock);
    int rc = c->role_arn == NULL ? aws_sources_find(&fresh, &e) : assume_role(c, &fresh, &e);
    bool expired = rc == 0 && fresh.expires_ms != 0 && fresh.expires_ms <= aws_wall_ms();
    if (expired) {
        rc = err_set(&e, ERR_RETRY, HTTP_NOT_SENT,
                     "no AWS credentials: those of %s have expired and there are no new ones yet",
                     fresh.source);
    }
    pthread_mutex_lock(&c->lock);
    if (expired && is_metadata(fresh.source) && fresh.expires_ms > c->keys.expires_ms) {
        hold_keys(c, &fresh);
    } else if (expired) {
        aws_keys_fini(&fresh);
    }
    c->looking = false;
    c->looks++;
    c->failed = rc != 0;
    if (rc == 0) {
        count_lookup(fresh.source, true);
        store_keys(c, &fresh);
    } else {
        /* An instance that had keys still has a role, even if its metadata service does not respond
         * now. */
        bool instance = c->keys.source != NULL && strcmp(c->keys.source, "instance") == 0;
        e.class = instance ? ERR_RETRY : e.class;
        count_lookup(c->keys.source != NULL ? c->keys.source : "none", false);
        c->failure = e;
        c->failed_at_ms = clock_mono_ms();
        c->failures++;
        c->renew_at_ms =
            c->failed_at_ms + backoff_full_jitter_ms(RETRY_BASE_MS, RETRY_CAP_MS, c->failures);
        wakeup_signal(&c->stop);
    }
    pthread_cond_broadcast(&c->changed);
}

/* Looks up, or waits for the thread that does. */
static void look_or_wait(struct aws_credentials *c)
{
    uint64_t before = c->looks;
    if (!c->looking) {
        look_up_keys(c);
        return;
    }
    while (c->looks == before) {
        pthread_cond_wait(&c->changed, &c->lock);
    }
}

int aws_credentials_get(struct aws_credentials *c, struct aws_keys *out, struct err *e)
{
    pthread_mutex_lock(&c->lock);
    bool recent_failure = c->failed && clock_mono_ms() - c->failed_at_ms < FAILURE_HOLDS_MS;
    if (!are_keys_valid(c) && !recent_failure && !are_keys_used_on(c)) {
        look_or_wait(c);
    }
    int rc = are_keys_valid(c) || are_keys_used_on(c) ? 0 : -1;
    if (rc == 0) {
        aws_keys_copy(&c->keys, out);
    } else if (c->failed) {
        *e = c->failure;
    } else {
        (void)err_set(e, ERR_RETRY, HTTP_NOT_SENT, "the AWS credentials have just expired");
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

bool aws_credentials_refused(struct aws_credentials *c, const char *access_key)
{
    pthread_mutex_lock(&c->lock);
    int64_t now_ms = clock_mono_ms();
    bool renewed = c->keys.access_key != NULL && strcmp(c->keys.access_key, access_key) != 0;
    bool recent = c->refused_at_ms >= 0 && now_ms - c->refused_at_ms < REFUSAL_HOLDS_MS;
    /* Many calls are refused at once: those during a lookup wait for its result. */
    if (!renewed && (!recent || c->looking)) {
        c->refused_at_ms = recent ? c->refused_at_ms : now_ms;
        look_or_wait(c);
        renewed = are_keys_valid(c) && strcmp(c->keys.access_key, access_key) != 0;
    }
    pthread_mutex_unlock(&c->lock);
    return renewed;
}

/* --- the renewing thread ---------------------------------------------------------------------- */

static void *renew_thread(void *arg)
{
    struct aws_credentials *c = arg;
    for (;;) {
        uint64_t seen = wakeup_count(&c->stop);
        pthread_mutex_lock(&c->lock);
        int64_t left_ms = c->renew_at_ms - clock_mono_ms();
        bool never = c->renew_at_ms == 0;
        if (!never && left_ms <= 0 && !c->looking) {
            look_up_keys(c);
            left_ms = c->renew_at_ms - clock_mono_ms();
        }
        pthread_mutex_unlock(&c->lock);
        int64_t wait_ms = never ? RETRY_CAP_MS : left_ms;
        if (wakeup_wait(&c->stop, seen, wait_ms > 0 ? wait_ms : RETRY_BASE_MS)) {
            return NULL;
        }
    }
}
