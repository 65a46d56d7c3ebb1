#include "ingress/peer/hook_ranges.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/json_scan.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "common/base/wakeup.h"
#include "common/http/client.h"

#define CALL_TIMEOUT_MS 5000
#define INTERVAL_MS (24 * 3600 * 1000)
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS (10 * 60 * 1000)
/* GitHub's has some hundred kilobytes, nearly all of it about other services. */
#define ANSWER_LIMIT_BYTES ((size_t)8 << 20)
#define FILE_LIMIT_BYTES ((size_t)64 << 10)
#define URL_LIMIT_BYTES 4200

struct hook_ranges {
    struct http_client *client;
    char *url;
    char *file; /* NULL: none */
    struct metric *read_at;
    struct wakeup stop;
    pthread_t thread;
    bool started;
    pthread_rwlock_t lock; /* of the rest */
    struct ip_prefix list[HOOK_RANGES_MAX];
    size_t count; /* 0: none known */
    struct err last_error;
};

/* --- one answer ------------------------------------------------------------------------------- */

static const char *parse_range(struct slice raw, struct ip_prefix *out)
{
    struct buf text;
    buf_init(&text, 64);
    json_text(raw, &text);
    const char *trouble = text.failed || ip_prefix_parse(buf_slice(&text), out) != NULL
                              ? "has a range that is no prefix"
                              : NULL;
    buf_fini(&text);
    /* No publisher means everybody. */
    return trouble != NULL ? trouble : out->bits == 0 ? "has a range of all addresses" : NULL;
}

const char *hook_ranges_parse(struct slice json, struct ip_prefix *out, size_t max, size_t *count)
{
    static const struct json_key keys[] = {{JSON_KEY("hooks"), 0, NULL}};
    static const struct json_keys known = {keys, COUNT_OF(keys)};
    struct slice ranges[HOOK_RANGES_MAX];
    struct slice hooks = {NULL, 0};
    const char *reason = NULL;
    size_t n = 0;
    if (!json_scan(json, &known, &hooks, 1, &reason)) {
        return "is not JSON";
    }
    max = max < HOOK_RANGES_MAX ? max : HOOK_RANGES_MAX;
    if (hooks.len == 0) {
        return "has no `hooks`";
    }
    if (!json_scan_strings(hooks, ranges, max, &n) || n == 0) {
        return "has `hooks` that is no list of a few ranges";
    }
    for (size_t i = 0; i < n; i++) {
        const char *trouble = parse_range(ranges[i], &out[i]);
        if (trouble != NULL) {
            return trouble;
        }
    }
    *count = n;
    return NULL;
}

/* Whether the ranges changed. */
static bool replace_ranges(struct hook_ranges *h, const struct ip_prefix *list, size_t count)
{
    pthread_rwlock_wrlock(&h->lock);
    bool same = h->count == count;
    for (size_t i = 0; same && i < count; i++) {
        same = h->list[i].bits == list[i].bits && ip_address_eq(&h->list[i].base, &list[i].base);
    }
    memcpy(h->list, list, count * sizeof *list);
    h->count = count;
    pthread_rwlock_unlock(&h->lock);
    return !same;
}

/* --- the copy in the file --------------------------------------------------------------------- */

static void read_copy(struct hook_ranges *h)
{
    struct ip_prefix list[HOOK_RANGES_MAX];
    size_t count = 0;
    struct buf text;
    struct stat is;
    struct err e = {0};
    if (h->file == NULL) {
        return;
    }
    buf_init(&text, FILE_LIMIT_BYTES);
    if (fs_read_regular(h->file, &text, &e) == 0 &&
        hook_ranges_parse(buf_slice(&text), list, HOOK_RANGES_MAX, &count) == NULL &&
        stat(h->file, &is) == 0) {
        (void)replace_ranges(h, list, count);
        metric_set(h->read_at, is.st_mtime);
    }
    buf_fini(&text);
}

static int write_copy(const struct hook_ranges *h, const struct ip_prefix *list, size_t count,
                      struct err *e)
{
    struct buf text;
    if (h->file == NULL) {
        return 0;
    }
    buf_init(&text, FILE_LIMIT_BYTES);
    for (size_t i = 0; i < count; i++) {
        char address[IP_ADDRESS_TEXT];
        ip_address_text(&list[i].base, address);
        buf_printf(&text, "%s\"%s/%u\"", i == 0 ? "{\"hooks\":[" : ",", address, list[i].bits);
    }
    buf_append_cstr(&text, "]}\n");
    int rc = fs_write_atomic(h->file, buf_slice(&text), 0640, e);
    buf_fini(&text);
    return rc;
}

/* --- the thread ------------------------------------------------------------------------------- */

static int take_answer(struct hook_ranges *h, const struct http_response *r, struct err *e)
{
    struct ip_prefix list[HOOK_RANGES_MAX];
    size_t count = 0;
    if (r->status != 200) {
        return err_set(e, ERR_RETRY, r->status, "GET %s: status %d", h->url, r->status);
    }
    const char *trouble = hook_ranges_parse(buf_slice(&r->body), list, HOOK_RANGES_MAX, &count);
    if (trouble != NULL) {
        return err_set(e, ERR_RETRY, 0, "GET %s: the answer %s", h->url, trouble);
    }
    metric_set(h->read_at, clock_wall_ms() / 1000);
    if (replace_ranges(h, list, count)) {
        log_info("hook_ranges_read", LOG_INT("ranges", (int64_t)count));
    }
    return write_copy(h, list, count, e);
}

static int read_ranges(struct hook_ranges *h, struct err *e)
{
    static const char *const headers[] = {"Accept: application/vnd.github+json"};
    const struct http_request q = {.method = "GET",
                                   .url = h->url,
                                   .headers = headers,
                                   .header_count = COUNT_OF(headers),
                                   .response_limit_bytes = ANSWER_LIMIT_BYTES};
    struct http_response r;
    if (http_send(h->client, &q, &r, e) != 0) {
        return -1;
    }
    int rc = take_answer(h, &r, e);
    http_response_fini(&r);
    return rc;
}

static void note_failure(struct hook_ranges *h, const struct err *e)
{
    pthread_rwlock_wrlock(&h->lock);
    h->last_error = *e;
    bool known = h->count > 0;
    pthread_rwlock_unlock(&h->lock);
    log_warn("hook_ranges_failed", LOG_ERR(e), LOG_BOOL("known", known),
             LOG_STR("action", known ? "the last good copy stays in use"
                                     : "deliveries are refused until the ranges are known"));
}

static void *run_reader(void *arg)
{
    struct hook_ranges *h = arg;
    int64_t wait_ms = 0;
    int failures = 0;
    while (!wakeup_sleep(&h->stop, wait_ms)) {
        struct err e = {0};
        if (read_ranges(h, &e) == 0) {
            failures = 0;
            wait_ms = INTERVAL_MS;
        } else {
            failures++;
            note_failure(h, &e);
            wait_ms = backoff_full_jitter_ms(RETRY_MIN_MS, RETRY_MAX_MS, failures);
        }
    }
    return NULL;
}

/* --- lifetime --------------------------------------------------------------------------------- */

static char *meta_url(const char *api_url)
{
    struct buf url;
    buf_init(&url, URL_LIMIT_BYTES);
    buf_printf(&url, "%s/meta", api_url);
    return buf_take(&url);
}

int hook_ranges_start(const struct hook_ranges_options *o, struct hook_ranges **out, struct err *e)
{
    const struct http_client_options client = {.user_agent = "mayfly/" MAYFLY_VERSION,
                                               .proxy = "",
                                               .ca_file = o->ca_file,
                                               .ca_setting = "github.ca",
                                               .connect_timeout_ms = CALL_TIMEOUT_MS,
                                               .timeout_ms = CALL_TIMEOUT_MS,
                                               .max_idle = 1};
    struct hook_ranges *h = calloc(1, sizeof *h);
    ASSERT(h != NULL && pthread_rwlock_init(&h->lock, NULL) == 0);
    wakeup_init(&h->stop);
    h->url = meta_url(o->api_url);
    h->file = o->file[0] != '\0' ? slice_dup(slice_of(o->file)) : NULL;
    h->read_at = metrics_gauge("mayfly_ingress_hook_ranges_timestamp_seconds", "");
    read_copy(h);
    if (http_client_new(&client, &h->client, e) != 0 ||
        thread_start(&h->thread, "the thread that reads GitHub's ranges", run_reader, h, e) != 0) {
        hook_ranges_stop(h);
        return -1;
    }
    h->started = true;
    *out = h;
    return 0;
}

void hook_ranges_stop(struct hook_ranges *h)
{
    if (h == NULL) {
        return;
    }
    wakeup_raise(&h->stop);
    if (h->started) {
        pthread_join(h->thread, NULL);
    }
    http_client_free(h->client);
    wakeup_fini(&h->stop);
    pthread_rwlock_destroy(&h->lock);
    free(h->url);
    free(h->file);
    free(h);
}

bool hook_ranges_known(struct hook_ranges *h, struct buf *why)
{
    pthread_rwlock_rdlock(&h->lock);
    bool known = h->count > 0;
    if (!known && why != NULL) {
        buf_printf(why, "allow_from: GitHub's ranges are not known yet%s%s",
                   h->last_error.class != ERR_NONE ? ": " : "", h->last_error.message);
    }
    pthread_rwlock_unlock(&h->lock);
    return known;
}

bool hook_ranges_contain(struct hook_ranges *h, const struct ip_address *a)
{
    pthread_rwlock_rdlock(&h->lock);
    const struct ip_prefixes set = {h->list, h->count};
    bool contain = ip_prefixes_contain(&set, a);
    pthread_rwlock_unlock(&h->lock);
    return contain;
}
