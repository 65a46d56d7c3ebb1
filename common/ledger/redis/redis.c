#include "common/ledger/redis/redis.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/thread.h"
#include "common/ledger/front.h"

#define FORMAT 1
#define WORDS_MAX 8
#define WATCH_MS 60000
#define SETTINGS "settings of the store"
#define WARNINGS_LIMIT_BYTES (16 * 1024)
#define WARNING_SIZE 512

/* --- clocks --- */
static _Atomic(ledger_clock_fn *) store_clock;

void ledger_set_store_clock(ledger_clock_fn *wall_ms)
{
    atomic_store(&store_clock, wall_ms);
}

int64_t ledger_redis_now(struct ledger_redis *l)
{
    ledger_clock_fn *given = atomic_load(&store_clock);
    return given != NULL ? given() : clock_mono_ms() + atomic_load(&l->ahead_ms);
}

int64_t ledger_redis_server_ms(struct ledger_redis *l, int64_t wall_ms)
{
    return wall_ms - clock_wall_ms() + ledger_redis_now(l);
}

/* --- calls --- */
void ledger_redis_args(struct redis_args *a)
{
    ledger_clock_fn *given = atomic_load(&store_clock);
    redis_args_init(a);
    if (given != NULL) {
        redis_arg_int(a, given());
    } else {
        redis_arg_text(a, "");
    }
}

int ledger_redis_eval(struct ledger_redis *l, const struct redis_script *script,
                      const struct redis_args *args, bool writes, struct redis_reply **out,
                      struct err *e)
{
    struct redis_reply *r = NULL;
    int rc = writes ? redis_store_write(l->store, script, args, &r, e)
                    : redis_store_eval(l->store, script, args, &r, e);
    if (rc != 0) {
        return -1;
    }
    int64_t now_ms = redis_reply_int(redis_reply_at(r, 0), 0);
    if (now_ms <= 0 || redis_reply_count(r) < 2) {
        redis_reply_free(r);
        return err_set(e, ERR_RETRY, 0, "%s answered what its script does not say",
                       redis_store_server(l->store));
    }
    atomic_store(&l->ahead_ms, now_ms - clock_mono_ms());
    *out = r;
    return 0;
}

void ledger_redis_key(struct ledger_redis *l, struct redis_args *a, const char *key)
{
    struct ledger_redis_name n = ledger_redis_named("%s:l:%s", redis_store_root(l->store), key);
    redis_arg(a, ledger_redis_slice(&n));
}

int ledger_redis_call(struct ledger_redis *l, const char *command, const char *key,
                      const char *const *words, struct redis_reply **out, struct err *e)
{
    struct redis_args a;
    redis_args_init(&a);
    redis_arg_text(&a, command);
    ledger_redis_key(l, &a, key);
    for (size_t i = 0; words != NULL && words[i] != NULL && i < WORDS_MAX; i++) {
        redis_arg_text(&a, words[i]);
    }
    int rc = redis_store_call(l->store, &a, out, e);
    redis_args_fini(&a);
    return rc;
}

/* --- names --- */
struct slice ledger_redis_slice(const struct ledger_redis_name *n)
{
    return (struct slice){n->text, n->len};
}

struct ledger_redis_name ledger_redis_named(const char *fmt, ...)
{
    struct ledger_redis_name n;
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(n.text, sizeof n.text, fmt, ap);
    va_end(ap);
    ASSERT(len >= 0 && (size_t)len < sizeof n.text);
    n.len = (size_t)len;
    return n;
}

struct ledger_redis_name ledger_redis_id(int64_t job_id)
{
    return ledger_redis_named("%020" PRId64, job_id);
}

struct ledger_redis_name ledger_redis_pair(const char *a, const char *b)
{
    struct ledger_redis_name n = ledger_redis_named("%s|%s", a, b);
    n.text[strlen(a)] = '\0';
    return n;
}

struct ledger_redis_name ledger_redis_waiting_key(const char *scope, const char *class_name)
{
    return ledger_redis_named("waiting:%zu:%s:%s", strlen(scope), scope, class_name);
}

/* --- pages --- */
int ledger_redis_page(struct ledger_redis *l, const struct ledger_redis_range *r,
                      struct redis_reply **out, struct err *e)
{
    static const struct redis_script script = {"ledger page", ledger_redis_lua_page};
    struct redis_args a;
    ledger_redis_args(&a);
    redis_arg_text(&a, r->index);
    redis_arg_text(&a, r->hash);
    redis_arg_text(&a, r->command);
    redis_arg_int(&a, 5);
    redis_arg_text(&a, r->from);
    redis_arg_text(&a, r->to);
    redis_arg_text(&a, "LIMIT");
    redis_arg_int(&a, (int64_t)r->skip);
    redis_arg_int(&a, (int64_t)r->max);
    int rc = ledger_redis_eval(l, &script, &a, false, out, e);
    redis_args_fini(&a);
    return rc;
}

size_t ledger_redis_page_count(const struct redis_reply *page)
{
    return redis_reply_count(redis_reply_at(page, 2));
}

void ledger_redis_page_at(const struct redis_reply *page, size_t i, struct slice *name,
                          struct slice *row)
{
    *name = redis_reply_bytes(redis_reply_at(redis_reply_at(page, 2), i));
    *row = redis_reply_bytes(redis_reply_at(redis_reply_at(page, 3), i));
}

/* --- opening --- */
static int read_format(struct ledger_redis *l, int64_t *format, struct err *e)
{
    static const char *const field[] = {"format", NULL};
    struct redis_reply *r = NULL;
    if (ledger_redis_call(l, "HGET", "meta", field, &r, e) != 0) {
        return -1;
    }
    *format = redis_reply_int(r, 0);
    redis_reply_free(r);
    return 0;
}

/* Rejects a store of a newer format. Writes only into a new one: programs must be able to start
 * while the server refuses writes. */
static int check_ledger_format(struct ledger_redis *l, bool existing, struct err *e)
{
    static const char *const first_format[] = {"format", "1", NULL};
    struct redis_reply *r = NULL;
    int64_t format = 0;
    if (read_format(l, &format, e) != 0) {
        return -1;
    }
    if (format == 0 && existing) {
        return err_set(
            e, ERR_NOT_FOUND, 0,
            "there is no ledger of %s on Redis at %s: its prefix or database in the "
            "configuration is wrong, or no daemon has run with it yet or since it was emptied",
            redis_store_root(l->store), redis_store_server(l->store));
    }
    if (format == 0) {
        int rc = ledger_redis_call(l, "HSETNX", "meta", first_format, &r, e);
        redis_reply_free(r);
        if (rc != 0 || read_format(l, &format, e) != 0) {
            return -1;
        }
    }
    if (format != FORMAT) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the ledger in %s has format %" PRId64 "; this program supports only %d: "
                       "upgrade the program",
                       redis_store_server(l->store), format, FORMAT);
    }
    return 0;
}

static int read_clock(struct ledger_redis *l, struct err *e)
{
    struct redis_reply *r = NULL;
    struct redis_args a;
    redis_args_init(&a);
    redis_arg_text(&a, "TIME");
    int rc = redis_store_call(l->store, &a, &r, e);
    int64_t now_ms = redis_reply_int(redis_reply_at(r, 0), 0) * 1000 +
                     redis_reply_int(redis_reply_at(r, 1), 0) / 1000;
    atomic_store(&l->ahead_ms, now_ms - clock_mono_ms());
    redis_reply_free(r);
    redis_args_fini(&a);
    return rc;
}

static void close_store(void *state)
{
    struct ledger_redis *l = state;
    if (l->watch != NULL) {
        redis_subscription_end(l->watch);
        ASSERT(pthread_join(l->watcher, NULL) == 0);
        redis_subscription_close(l->watch);
    }
    redis_store_close(l->store);
    ledger_redis_forget_all(l);
    ASSERT(pthread_mutex_destroy(&l->lock) == 0);
    free(l);
}

static int open_store(const char *url, bool existing, void **out_state, struct err *e)
{
    struct redis_store *store = NULL;
    if (redis_store_open(url, &store, e) != 0) {
        return -1;
    }
    struct ledger_redis *l = calloc(1, sizeof *l);
    ASSERT(l != NULL && pthread_mutex_init(&l->lock, NULL) == 0);
    l->store = store;
    if (check_ledger_format(l, existing, e) != 0 || read_clock(l, e) != 0) {
        close_store(l);
        return -1;
    }
    *out_state = l;
    return 0;
}

static int ping_store(void *state, struct err *e)
{
    struct ledger_redis *l = state;
    return redis_store_ping(l->store, e);
}

/* --- slots released by any process --- */
static void *watch(void *arg)
{
    struct ledger_redis *l = arg;
    for (;;) {
        struct slice payload;
        switch (redis_subscription_next(l->watch, WATCH_MS, &payload)) {
        case REDIS_EVENT_SUBSCRIBED: /* messages may have been missed */
            atomic_store(&l->watching, true);
            l->on_release(l->on_release_arg);
            break;
        case REDIS_EVENT_MESSAGE:
            l->on_release(l->on_release_arg);
            break;
        case REDIS_EVENT_LOST:
            atomic_store(&l->watching, false);
            l->on_release(l->on_release_arg); /* the caller must poll from now on */
            break;
        case REDIS_EVENT_TIMEOUT:
            break;
        case REDIS_EVENT_ENDED:
            return NULL;
        }
    }
}

static void watch_releases(void *state, ledger_released_fn *on_release, void *arg)
{
    struct ledger_redis *l = state;
    struct err e;
    ASSERT(l->watch == NULL);
    l->on_release = on_release;
    l->on_release_arg = arg;
    l->watch = redis_subscription_open(l->store, ":l:freed");
    if (thread_start(&l->watcher, "the ledger's subscription thread", watch, l, &e) != 0) {
        redis_subscription_close(l->watch); /* the caller polls */
        l->watch = NULL;
    }
}

static int64_t now(void *state)
{
    return ledger_redis_now(state);
}

static int history(void *state, char out[LEDGER_HISTORY_SIZE], struct err *e)
{
    struct ledger_redis *l = state;
    return redis_store_history(l->store, out, LEDGER_HISTORY_SIZE, e);
}

static bool watching(void *state)
{
    struct ledger_redis *l = state;
    return atomic_load(&l->watching);
}

static void check(void *state, enum ledger_check what, ledger_report_fn *report, void *arg)
{
    struct ledger_redis *l = state;
    struct err e = {0};
    struct buf warnings;
    (void)what; /* no setting is about anything else */
    buf_init(&warnings, WARNINGS_LIMIT_BYTES);
    if (redis_store_check(l->store, &warnings, &e) != 0) {
        report(arg, LEDGER_CHECK_WARNING, SETTINGS, e.message);
    } else if (warnings.len == 0) {
        report(arg, LEDGER_CHECK_OK, SETTINGS, "they lose no confirmed write");
    }
    struct slice rest = buf_slice(&warnings);
    while (rest.len > 0) {
        struct slice line;
        char text[WARNING_SIZE];
        (void)slice_cut(rest, '\n', &line, &rest);
        if (line.len > 0 && slice_to_cstr(line, text, sizeof text)) {
            report(arg, LEDGER_CHECK_WARNING, SETTINGS, text);
        }
    }
    buf_fini(&warnings);
}

const struct ledger_ops ledger_ops_redis = {
    .scheme = "redis",
    .open = open_store,
    .close = close_store,
    .ping = ping_store,
    .txn = &ledger_redis_txn_ops,
    .job_get = ledger_redis_job_get,
    .job_page = ledger_redis_job_page,
    .reserve = ledger_redis_reserve,
    .capacity = ledger_redis_capacity,
    .targets_read = ledger_redis_targets_read,
    .release_seq = ledger_redis_release_seq,
    .watch_releases = watch_releases,
    .watching = watching,
    .now = now,
    .history = history,
    .balances = ledger_redis_balances,
    .scopes = ledger_redis_scopes,
    .vm_get = ledger_redis_vm_get,
    .vm_list = ledger_redis_vm_list,
    .vms_gone = ledger_redis_vms_gone,
    .timeline = ledger_redis_timeline,
    .rate_take = ledger_redis_rate_take,
    .rate_pause = ledger_redis_rate_pause,
    .cells = ledger_redis_cells,
    .counts = ledger_redis_counts,
    .tidy = ledger_redis_tidy,
    .repair = ledger_repair_nothing,
    .check = check,
};
