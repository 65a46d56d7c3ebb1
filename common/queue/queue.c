#include "common/queue/queue.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/queue/metrics.h"
#include "common/queue/queue_backend.h"

#define LEASE_MAX_MS (24LL * 3600 * 1000)
#define REASON_MAX_BYTES 500
#define DEFAULT_POLL_WAIT_MS 1000

struct queue {
    const struct queue_ops *ops;
    void *state;
    atomic_bool interrupted;
    struct queue_metrics metrics;
};

void queue_message_fini(struct queue_message *m)
{
    free(m->body);
    *m = (struct queue_message){0};
}

void queue_entries_free(struct queue_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        queue_message_fini(&entries[i].message);
    }
    free(entries);
}

/* --- opening --- */
static void check_ops(const struct queue_ops *o)
{
    ASSERT(o->scheme && o->open && o->close && o->put && o->wake);
    ASSERT(o->poll ? !o->receive && !o->wait : o->receive && o->wait);
    ASSERT(o->extend && o->ack && o->nack && o->dead_letter && o->depths && o->ping);
    ASSERT(o->admin == NULL || (o->admin->dead && o->admin->redrive && o->admin->delete));
}

static const struct queue_ops *find_backend(const char *url)
{
    struct slice scheme;
    struct slice rest;
    if (!slice_cut(slice_of(url), ':', &scheme, &rest)) {
        return NULL;
    }
    for (size_t i = 0; i < queue_backend_count; i++) {
        if (slice_eq_cstr(scheme, queue_backends[i].scheme)) {
            return queue_backends[i].ops;
        }
    }
    return NULL;
}

static int fail_unknown_backend(const char *url, struct err *e)
{
    struct buf known;
    buf_init(&known, 512);
    for (size_t i = 0; i < queue_backend_count; i++) {
        if (queue_backends[i].example != NULL) {
            buf_append_cstr(&known, known.len > 0 ? ", " : "");
            buf_append_cstr(&known, queue_backends[i].example);
        }
    }
    /* What follows the scheme may hold a password. */
    int rc =
        err_set(e, ERR_PERMANENT, 0, "there is no queue of the scheme \"%.*s\": write one of %s",
                (int)strcspn(url, ":"), url, known.data);
    buf_fini(&known);
    return rc;
}

static int open_queue(const char *url, bool existing, struct queue **out, struct err *e)
{
    void *state;
    const struct queue_ops *ops = find_backend(url);
    if (ops == NULL) {
        return fail_unknown_backend(url, e);
    }
    check_ops(ops);
    if (ops->open(url, existing, &state, e) != 0) {
        return -1;
    }
    struct queue *q = calloc(1, sizeof *q);
    ASSERT(q != NULL);
    q->ops = ops;
    q->state = state;
    queue_metrics_init(&q->metrics, ops->over_aws);
    *out = q;
    return 0;
}

int queue_open(const char *url, struct queue **out, struct err *e)
{
    return open_queue(url, false, out, e);
}

int queue_open_existing(const char *url, struct queue **out, struct err *e)
{
    return open_queue(url, true, out, e);
}

void queue_close(struct queue *q)
{
    if (q == NULL) {
        return;
    }
    q->ops->close(q->state);
    queue_metrics_fini(&q->metrics);
    free(q);
}

/* --- capabilities --- */
bool queue_can(const struct queue *q, enum queue_capability c)
{
    const struct queue_admin_ops *admin = q->ops->admin;
    switch (c) {
    case QUEUE_BROWSE:
        return admin != NULL;
    case QUEUE_FIND:
        return admin != NULL && admin->find != NULL;
    case QUEUE_SCANS:
    case QUEUE_DEPTHS:
    case QUEUE_ORDERED:
    case QUEUE_FAIR:
    case QUEUE_PARTITIONED:
        return (q->ops->can & (unsigned)c) != 0;
    }
    return false;
}

static int check_can(const struct queue *q, enum queue_capability c, struct err *e)
{
    if (queue_can(q, c)) {
        return 0;
    }
    return err_set(e, ERR_PERMANENT, 0, "a queue on %s cannot %s", q->ops->scheme,
                   c == QUEUE_FIND ? "search for messages" : "show or change its dead letters");
}

/* --- argument checks --- */
static bool is_lane_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

static int check_lane(const char *lane, struct err *e)
{
    size_t len = lane != NULL ? strlen(lane) : 0;
    if (len == 0 || len > QUEUE_LANE_MAX) {
        return err_set(e, ERR_PERMANENT, 0, "a lane's name has 1 to %d characters, not %zu",
                       QUEUE_LANE_MAX, len);
    }
    size_t good = 0;
    while (is_lane_letter(lane[good])) {
        good++;
    }
    if (good != len) {
        return err_set(e, ERR_PERMANENT, 0,
                       "\"%s\" is not a lane's name: use a-z, 0-9, '.' and '-'", lane);
    }
    return 0;
}

static int check_range(const char *what, int64_t value, int64_t least, int64_t most, struct err *e)
{
    if (value < least || value > most) {
        return err_set(e, ERR_PERMANENT, 0, "%s must be %lld to %lld, not %lld", what,
                       (long long)least, (long long)most, (long long)value);
    }
    return 0;
}

static int check_delay(int64_t delay_ms, struct err *e)
{
    return check_range("a message's delay in ms", delay_ms, 0, QUEUE_DELAY_MAX_MS, e);
}

static int check_item(const struct queue_item *item, struct err *e)
{
    if (check_lane(item->lane, e) != 0 || check_delay(item->delay_ms, e) != 0) {
        return -1;
    }
    if (item->body.len > QUEUE_BODY_MAX_BYTES) {
        return err_set(e, ERR_PERMANENT, 0,
                       "a message's body has %zu bytes; at most %d are allowed", item->body.len,
                       QUEUE_BODY_MAX_BYTES);
    }
    size_t key_max = sizeof((struct queue_message *)0)->key - 1;
    if (item->key != NULL && strlen(item->key) > key_max) {
        return err_set(e, ERR_PERMANENT, 0,
                       "a message's key has %zu characters; at most %zu are "
                       "allowed",
                       strlen(item->key), key_max);
    }
    return 0;
}

static const char *cut_reason(const char *reason, char out[REASON_MAX_BYTES + 1])
{
    slice_shorten(reason, out, REASON_MAX_BYTES + 1);
    return out;
}

/* --- the calls --- */
/* Once for each lane; a put has few, so that the first of a lane is found soon. */
static void count_put(struct queue *q, const struct queue_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t same = 0;
        size_t first = 0;
        while (strcmp(items[first].lane, items[i].lane) != 0) {
            first++;
        }
        for (size_t k = i; first == i && k < n; k++) {
            same += strcmp(items[k].lane, items[i].lane) == 0;
        }
        if (same > 0) {
            queue_metrics_count(&q->metrics, items[i].lane, QUEUE_COUNT_PUT, same);
        }
    }
}

int queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e)
{
    if (check_range("the number of messages in a put", (int64_t)n, 1, QUEUE_BATCH_MAX, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (check_item(&items[i], e) != 0) {
            return err_wrap(e, "message %zu of %zu", i + 1, n);
        }
    }
    int64_t began_us = clock_mono_us();
    int rc = q->ops->put(q->state, items, n, e);
    if (rc == 0) {
        count_put(q, items, n);
    }
    return queue_metrics_call(&q->metrics, QUEUE_CALL_PUT, began_us, rc, e);
}

/* Others may write to a store: every number that the program uses is forced into its bounds. */
static void clamp_message(struct queue_message *m)
{
    m->attempts = m->attempts < 0                    ? 0
                  : m->attempts > QUEUE_ATTEMPTS_MAX ? QUEUE_ATTEMPTS_MAX
                                                     : m->attempts;
    if (m->enqueued_ms < 0 || m->enqueued_ms > CLOCK_WALL_MAX_MS) {
        m->enqueued_ms = clock_wall_ms();
    }
}

/* One attempt; waits only if the store itself does (poll). */
static int receive_once(struct queue *q, const struct queue_receive_args *w,
                        struct queue_message *out, size_t *got, struct err *e)
{
    int64_t began_us = clock_mono_us();
    size_t received = 0;
    bool polls = q->ops->poll != NULL;
    int rc = polls ? q->ops->poll(q->state, w, out, &received, e)
                   : q->ops->receive(q->state, w->lane, w->max, w->lease_ms, out, &received, e);
    if (rc == 0 && received > 0) {
        queue_metrics_count(&q->metrics, w->lane, QUEUE_COUNT_RECEIVED, (int64_t)received);
    }
    for (size_t i = 0; rc == 0 && i < received; i++) {
        clamp_message(&out[i]);
    }
    if (rc == 0) {
        *got = received;
    }
    bool waited = polls && w->wait_ms > 0; /* the store's wait for a message is no work of it */
    return queue_metrics_call(&q->metrics, QUEUE_CALL_RECEIVE,
                              waited && rc == 0 ? clock_mono_us() : began_us, rc, e);
}

static bool wait_for_more(struct queue *q, const char *lane, int64_t until_ms)
{
    int64_t left_ms = until_ms - clock_mono_ms();
    if (left_ms <= 0 || atomic_load(&q->interrupted)) {
        return false;
    }
    if (q->ops->wait != NULL) {
        q->ops->wait(q->state, lane, left_ms);
    }
    return true;
}

/* Eight parameters: the interface's inputs and outputs. */
// NOLINTNEXTLINE(readability-function-size)
int queue_receive(struct queue *q, const char *lane, size_t max, int64_t lease_ms, int64_t wait_ms,
                  struct queue_message *out, size_t *got, struct err *e)
{
    if (check_lane(lane, e) != 0 ||
        check_range("the number of messages to receive", (int64_t)max, 1, QUEUE_BATCH_MAX, e) !=
            0 ||
        check_range("a lease in ms", lease_ms, 1, LEASE_MAX_MS, e) != 0) {
        return -1;
    }
    int64_t until_ms = clock_mono_ms() + wait_ms;
    struct queue_receive_args want = {.lane = lane, .max = max, .lease_ms = lease_ms};
    do {
        int64_t left_ms = until_ms - clock_mono_ms();
        want.wait_ms = left_ms > 0 && !atomic_load(&q->interrupted) ? left_ms : 0;
        if (receive_once(q, &want, out, got, e) != 0) {
            return -1;
        }
    } while (*got == 0 && wait_for_more(q, lane, until_ms));
    return 0;
}

int64_t queue_poll_wait_ms(const struct queue *q)
{
    return q->ops->poll_wait != NULL ? q->ops->poll_wait(q->state) : DEFAULT_POLL_WAIT_MS;
}

void queue_interrupt(struct queue *q)
{
    atomic_store(&q->interrupted, true);
    q->ops->wake(q->state);
}

void queue_keep(struct queue *q, const char *lane)
{
    if (q->ops->keep != NULL) {
        q->ops->keep(q->state, lane);
    }
}

static int end_call(struct queue *q, enum queue_call call, const char *lane, enum queue_count count,
                    int64_t began_us, int rc, const struct err *e)
{
    if (rc == 0 && count != QUEUE_COUNTS) {
        queue_metrics_count(&q->metrics, lane, count, 1);
    }
    if (rc != 0 && e->class == ERR_CONFLICT) {
        queue_metrics_count(&q->metrics, lane, QUEUE_COUNT_LEASE_LOST, 1);
    }
    return queue_metrics_call(&q->metrics, call, began_us, rc, e);
}

int queue_extend(struct queue *q, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    if (check_range("a lease in ms", lease_ms, 1, LEASE_MAX_MS, e) != 0) {
        return -1;
    }
    int64_t began_us = clock_mono_us();
    int rc = q->ops->extend(q->state, m, lease_ms, e);
    return end_call(q, QUEUE_CALL_EXTEND, m->lane, QUEUE_COUNTS, began_us, rc, e);
}

int queue_ack(struct queue *q, const struct queue_message *m, size_t n, struct err *e)
{
    if (check_range("the number of messages to ack", (int64_t)n, 1, QUEUE_BATCH_MAX, e) != 0) {
        return -1;
    }
    int64_t began_us = clock_mono_us();
    int rc = q->ops->ack(q->state, m, n, e);
    for (size_t i = 1; rc == 0 && i < n; i++) {
        queue_metrics_count(&q->metrics, m[i].lane, QUEUE_COUNT_ACK, 1);
    }
    return end_call(q, QUEUE_CALL_ACK, m[0].lane, QUEUE_COUNT_ACK, began_us, rc, e);
}

int queue_nack(struct queue *q, const struct queue_message *m, const struct queue_return *r,
               struct err *e)
{
    char reason[REASON_MAX_BYTES + 1];
    struct queue_return cut = *r;
    if (check_delay(r->delay_ms, e) != 0) {
        return -1;
    }
    cut.reason = r->reason != NULL ? cut_reason(r->reason, reason) : NULL;
    int64_t began_us = clock_mono_us();
    int rc = q->ops->nack(q->state, m, &cut, e);
    return end_call(q, QUEUE_CALL_NACK, m->lane, QUEUE_COUNT_NACKED, began_us, rc, e);
}

int queue_dead_letter(struct queue *q, const struct queue_message *m, const char *reason,
                      struct err *e)
{
    char cut[REASON_MAX_BYTES + 1];
    int64_t began_us = clock_mono_us();
    int rc = q->ops->dead_letter(q->state, m, cut_reason(reason != NULL ? reason : "", cut), e);
    return end_call(q, QUEUE_CALL_DEAD_LETTER, m->lane, QUEUE_COUNT_DEAD_LETTERED, began_us, rc, e);
}

/* --- status, dead letters, search --- */
int queue_depths(struct queue *q, const char *lane_or_null, struct queue_depth **out, size_t *n,
                 struct err *e)
{
    if (lane_or_null != NULL && check_lane(lane_or_null, e) != 0) {
        return -1;
    }
    return q->ops->depths(q->state, lane_or_null, out, n, e);
}

int queue_dead(struct queue *q, const char *lane_or_null, size_t max, struct queue_entry **out,
               size_t *n, struct err *e)
{
    if (check_can(q, QUEUE_BROWSE, e) != 0 ||
        (lane_or_null != NULL && check_lane(lane_or_null, e) != 0) ||
        check_range("the number of entries", (int64_t)max, 1, INT32_MAX, e) != 0) {
        return -1;
    }
    return q->ops->admin->dead(q->state, lane_or_null, max, out, n, e);
}

int queue_find(struct queue *q, const char *key, size_t max, struct queue_entry **out, size_t *n,
               struct err *e)
{
    if (key == NULL || key[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "the key to search for is empty");
    }
    if (check_can(q, QUEUE_FIND, e) != 0 ||
        check_range("the number of entries", (int64_t)max, 1, INT32_MAX, e) != 0) {
        return -1;
    }
    return q->ops->admin->find(q->state, key, max, out, n, e);
}

int queue_redrive(struct queue *q, const char *id, struct err *e)
{
    return check_can(q, QUEUE_BROWSE, e) != 0 ? -1 : q->ops->admin->redrive(q->state, id, e);
}

int queue_delete(struct queue *q, const char *id, struct err *e)
{
    return check_can(q, QUEUE_BROWSE, e) != 0 ? -1 : q->ops->admin->delete (q->state, id, e);
}

#define JUDGE_PAGE 1000

static int do_verdict(struct queue *q, enum queue_verdict v, const char *id, int64_t *done,
                      struct err *e)
{
    const struct queue_admin_ops *admin = q->ops->admin;
    int rc = v == QUEUE_REDRIVE ? admin->redrive(q->state, id, e) : admin->delete (q->state, id, e);
    *done += rc == 0 ? 1 : 0;
    return rc != 0 && e->class == ERR_NOT_FOUND ? 0 : rc;
}

struct judging {
    struct queue *q;
    queue_judge_fn *judge;
    void *arg;
    size_t left; /* the oldest ones, which stay */
    bool stop;
};

/* The page after those that stay. *n: how many the list had. */
static int judge_page(struct judging *j, size_t *n, int64_t *done, struct err *e)
{
    struct queue_entry *entries = NULL;
    size_t first = j->left;
    int rc = 0;
    if (j->q->ops->admin->dead(j->q->state, NULL, first + JUDGE_PAGE, &entries, n, e) != 0) {
        return -1;
    }
    for (size_t i = first; i < *n && rc == 0 && !j->stop; i++) {
        enum queue_verdict v = j->judge(j->arg, &entries[i]);
        j->stop = v == QUEUE_STOP;
        j->left += v == QUEUE_LEAVE ? 1 : 0;
        if (v == QUEUE_REDRIVE || v == QUEUE_DELETE) {
            rc = do_verdict(j->q, v, entries[i].message.id, done, e);
        }
    }
    queue_entries_free(entries, *n);
    return rc;
}

int queue_judge_dead(struct queue *q, queue_judge_fn *judge, void *arg, int64_t *done,
                     struct err *e)
{
    struct judging j = {.q = q, .judge = judge, .arg = arg};
    size_t first;
    size_t n;
    *done = 0;
    if (check_can(q, QUEUE_BROWSE, e) != 0) {
        return -1;
    }
    if (q->ops->admin->judge_dead != NULL) {
        return q->ops->admin->judge_dead(q->state, judge, arg, done, e);
    }
    do {
        first = j.left;
        if (judge_page(&j, &n, done, e) != 0) {
            return -1;
        }
    } while (!j.stop && n == first + JUDGE_PAGE);
    return 0;
}

int queue_check(struct queue *q, bool dead_letters, struct buf *out, struct err *e)
{
    return q->ops->check != NULL ? q->ops->check(q->state, dead_letters, out, e) : 0;
}

int queue_ping(struct queue *q, struct err *e)
{
    return q->ops->ping(q->state, e);
}
