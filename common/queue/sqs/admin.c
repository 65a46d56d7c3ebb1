/*
 * The queue on SQS: depths and dead letters. There is no search.
 *
 * SQS shows a message only by delivering it. A dead-letter queue is listed by receiving all of it,
 * hidden for SCAN_HIDE_S, and making it visible again. Another reader finds nothing meanwhile, so a
 * redrive that does not find its message waits for those that another reader holds.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/queue/sqs/internal.h"

#define SCAN_HIDE_S 30
#define SCAN_MAX 5000 /* of one lane */
#define EMPTY_MAX 3   /* consecutive empty receives although SQS counts messages */
#define SEARCH_INTERVAL_MS 200
#define COUNTS                                                                                     \
    "\"ApproximateNumberOfMessages\",\"ApproximateNumberOfMessagesNotVisible\","                   \
    "\"ApproximateNumberOfMessagesDelayed\""

/* --- attributes --- */
int queue_sqs_attributes(struct queue_sqs *q, const struct sqs_target *t, const char *names,
                         json_t **out, struct err *e)
{
    json_t *reply;
    struct buf body;
    buf_init(&body, 4096);
    queue_sqs_begin(&body, t);
    buf_printf(&body, ",\"AttributeNames\":[%s]}", names);
    const struct sqs_call call = {
        .operation = "GetQueueAttributes", .target = t, .body = buf_slice(&body)};
    int rc = queue_sqs_send(q, &call, &reply, NULL, e);
    buf_fini(&body);
    if (rc != 0) {
        return -1;
    }
    *out = json_incref(json_object_get(reply, "Attributes"));
    json_decref(reply);
    return 0;
}

int64_t queue_sqs_attribute(const json_t *attributes, const char *name, int64_t absent)
{
    int64_t number = 0;
    const char *text = json_string_value(json_object_get(attributes, name));
    return slice_to_range(slice_of(text), 0, INT32_MAX, &number) ? number : absent;
}

/* --- depths --- */
struct counts {
    int64_t ready;
    int64_t leased;
    int64_t delayed;
};

/* Zeros if the queue does not exist. */
static int count_messages(struct queue_sqs *q, const char *lane, bool dead, struct counts *out,
                          struct err *e)
{
    struct sqs_target target;
    json_t *attributes = NULL;
    bool there;
    *out = (struct counts){0};
    if (queue_sqs_find_target(q, lane, dead, &target, &there, e) != 0) {
        return -1;
    }
    if (!there) {
        return 0;
    }
    if (queue_sqs_attributes(q, &target, COUNTS, &attributes, e) != 0) {
        return -1;
    }
    out->ready = queue_sqs_attribute(attributes, "ApproximateNumberOfMessages", 0);
    out->leased = queue_sqs_attribute(attributes, "ApproximateNumberOfMessagesNotVisible", 0);
    out->delayed = queue_sqs_attribute(attributes, "ApproximateNumberOfMessagesDelayed", 0);
    json_decref(attributes);
    return 0;
}

static int load_depth(struct queue_sqs *q, const char *lane, struct queue_depth *out, struct err *e)
{
    struct counts live;
    struct counts dead;
    if (count_messages(q, lane, false, &live, e) != 0 ||
        count_messages(q, lane, true, &dead, e) != 0) {
        return -1;
    }
    *out = (struct queue_depth){.ready = live.ready,
                                .leased = live.leased,
                                .delayed = live.delayed,
                                .dead = dead.ready + dead.leased + dead.delayed};
    ASSERT(slice_to_cstr(slice_of(lane), out->lane, sizeof out->lane));
    return 0;
}

static int all_depths(struct queue_sqs *q, struct queue_depth **out, size_t *n, struct err *e)
{
    struct sqs_lanes lanes;
    size_t kept = 0;
    int rc = 0;
    if (queue_sqs_list(q, &lanes, e) != 0) {
        return -1;
    }
    struct queue_depth *all = calloc(lanes.count + 1, sizeof *all);
    ASSERT(all != NULL);
    for (size_t i = 0; i < lanes.count && rc == 0; i++) {
        struct queue_depth *d = &all[kept];
        rc = load_depth(q, lanes.names[i], d, e);
        kept += rc == 0 && d->ready + d->leased + d->delayed + d->dead > 0 ? 1 : 0;
    }
    queue_sqs_lanes_fini(&lanes);
    if (rc != 0) {
        free(all);
        return -1;
    }
    *out = all;
    *n = kept;
    return 0;
}

int queue_sqs_depths(void *state, const char *lane, struct queue_depth **out, size_t *n,
                     struct err *e)
{
    struct queue_depth one;
    if (lane == NULL) {
        return all_depths(state, out, n, e);
    }
    if (load_depth(state, lane, &one, e) != 0) {
        return -1;
    }
    *out = calloc(1, sizeof **out);
    ASSERT(*out != NULL);
    **out = one;
    *n = 1;
    return 0;
}

/* --- reading a dead-letter queue --- */
/* Visits one dead letter. */
enum visited {
    VISIT_LEFT,    /* it is made visible again */
    VISIT_CLAIMED, /* the visitor owns the body, the message stays hidden, and the scan ends */
    VISIT_DELETED
};
typedef enum visited visit_fn(void *arg, struct sqs_received *r);

struct scan {
    struct queue_sqs *q;
    const char *lane;
    struct sqs_target target;
    visit_fn *visit;
    void *arg;
    bool claimed;
    size_t seen;
    char (*handles)[SQS_HANDLE_MAX + 1]; /* of the messages to make visible again */
    size_t count;
};

static void add_handle(struct scan *s, const struct sqs_received *r)
{
    if (s->count % 64 == 0) {
        s->handles = realloc(s->handles, (s->count + 64) * sizeof *s->handles);
        ASSERT(s->handles != NULL);
    }
    memcpy(s->handles[s->count++], r->handle, sizeof r->handle);
}

/* After a failure the messages are visible again when SCAN_HIDE_S is over. */
static void release_messages(struct scan *s)
{
    for (size_t i = 0; i < s->count;) {
        json_t *reply;
        struct buf body;
        struct err e;
        buf_init(&body, 256 * 1024);
        queue_sqs_begin(&body, &s->target);
        buf_append_cstr(&body, ",\"Entries\":[");
        for (size_t k = 0; k < SQS_BATCH_MAX && i < s->count; k++, i++) {
            buf_printf(&body, "%s{\"Id\":\"%zu\",\"VisibilityTimeout\":0,\"ReceiptHandle\":",
                       k > 0 ? "," : "", k);
            buf_append_json(&body, slice_of(s->handles[i]));
            buf_append_byte(&body, '}');
        }
        buf_append_cstr(&body, "]}");
        const struct sqs_call call = {.operation = "ChangeMessageVisibilityBatch",
                                      .target = &s->target,
                                      .body = buf_slice(&body)};
        if (queue_sqs_send(s->q, &call, &reply, NULL, &e) == 0) {
            json_decref(reply);
        }
        buf_fini(&body);
    }
    free(s->handles);
    s->handles = NULL;
    s->count = 0;
}

static int scan_some(struct scan *s, size_t *got, struct err *e)
{
    struct sqs_received *all = calloc(SQS_BATCH_MAX, sizeof *all);
    ASSERT(all != NULL);
    const struct sqs_receive receive = {
        .target = &s->target, .lane = s->lane, .max = SQS_BATCH_MAX, .hide_s = SCAN_HIDE_S};
    int rc = queue_sqs_receive(s->q, &receive, all, got, e);
    for (size_t i = 0; rc == 0 && i < *got; i++) {
        enum visited v = s->claimed ? VISIT_LEFT : s->visit(s->arg, &all[i]);
        s->claimed = s->claimed || v == VISIT_CLAIMED;
        if (v == VISIT_LEFT) {
            add_handle(s, &all[i]);
        }
        queue_message_fini(&all[i].m);
    }
    free(all);
    return rc;
}

/* Passes every dead letter of the lane to `visit`. *elsewhere: how many another reader holds. */
static int scan_lane(struct scan *s, int64_t *elsewhere, struct err *e)
{
    struct counts expected;
    int empty = 0;
    bool there;
    *elsewhere = 0;
    s->seen = 0;
    if (queue_sqs_find_target(s->q, s->lane, true, &s->target, &there, e) != 0) {
        return -1;
    }
    if (!there) {
        return 0;
    }
    int rc = count_messages(s->q, s->lane, true, &expected, e);
    while (rc == 0 && !s->claimed && s->seen < SCAN_MAX && empty < EMPTY_MAX) {
        size_t got = 0;
        rc = scan_some(s, &got, e);
        s->seen += got;
        empty = got > 0 ? 0 : empty + 1;
        if (got == 0 && (int64_t)s->seen >= expected.ready) {
            break;
        }
    }
    release_messages(s);
    *elsewhere = expected.leased;
    return rc;
}

/* --- listing --- */
struct listing {
    struct queue_entry *entries;
    size_t count;
};

static void make_entry(const struct sqs_received *r, struct queue_entry *entry)
{
    *entry = (struct queue_entry){
        .message = r->m, .place = QUEUE_DEAD, .ahead = -1, .dead_lettered_ms = r->dead_lettered_ms};
    const char *reason =
        r->dead_lettered_ms > 0
            ? r->reason
            : "not dead-lettered by Mayfly: moved here by the queue's redrive policy";
    ASSERT(slice_to_cstr(slice_of(reason), entry->reason, sizeof entry->reason));
}

static enum visited list_one(void *arg, struct sqs_received *r)
{
    struct listing *l = arg;
    l->entries = realloc(l->entries, (l->count + 1) * sizeof *l->entries);
    ASSERT(l->entries != NULL);
    make_entry(r, &l->entries[l->count++]);
    r->m = (struct queue_message){0};
    return VISIT_LEFT;
}

static int list_lane(struct queue_sqs *q, const char *lane, struct listing *l, struct err *e)
{
    int64_t elsewhere;
    struct scan s = {.q = q, .lane = lane, .visit = list_one, .arg = l};
    return scan_lane(&s, &elsewhere, e);
}

static int sqs_compare_dead(const void *a, const void *b)
{
    const struct queue_entry *x = a;
    const struct queue_entry *y = b;
    if (x->dead_lettered_ms != y->dead_lettered_ms) {
        return x->dead_lettered_ms < y->dead_lettered_ms ? -1 : 1;
    }
    return strcmp(x->message.id, y->message.id);
}

static int sqs_dead(void *state, const char *lane, size_t max, struct queue_entry **out, size_t *n,
                    struct err *e)
{
    struct sqs_lanes lanes = {0};
    struct listing l = {0};
    int rc = lane != NULL ? list_lane(state, lane, &l, e) : queue_sqs_list(state, &lanes, e);
    for (size_t i = 0; i < lanes.count && rc == 0; i++) {
        rc = list_lane(state, lanes.names[i], &l, e);
    }
    queue_sqs_lanes_fini(&lanes);
    if (rc != 0) {
        queue_entries_free(l.entries, l.count);
        return -1;
    }
    if (l.count > 1) {
        qsort(l.entries, l.count, sizeof *l.entries, sqs_compare_dead);
    }
    for (; l.count > max; l.count--) {
        queue_message_fini(&l.entries[l.count - 1].message);
    }
    *out = l.entries;
    *n = l.count;
    return 0;
}

/* --- redrive and delete --- */
struct wanted {
    const char *id;
    struct sqs_received found; /* owned, once found */
    bool is_found;
};

static enum visited match_wanted(void *arg, struct sqs_received *r)
{
    struct wanted *w = arg;
    if (strcmp(r->m.id, w->id) != 0) {
        return VISIT_LEFT;
    }
    w->found = *r;
    w->is_found = true;
    r->m = (struct queue_message){0};
    return VISIT_CLAIMED;
}

static int search_lanes(struct queue_sqs *q, const struct sqs_lanes *lanes, struct wanted *w,
                        struct sqs_target *dead, int64_t *elsewhere, struct err *e)
{
    *elsewhere = 0;
    for (size_t i = 0; i < lanes->count && !w->is_found; i++) {
        int64_t some;
        struct scan s = {.q = q, .lane = lanes->names[i], .visit = match_wanted, .arg = w};
        if (scan_lane(&s, &some, e) != 0) {
            return -1;
        }
        *elsewhere += some;
        *dead = s.target;
    }
    return 0;
}

/* Finds the dead letter; it is hidden from other readers for SCAN_HIDE_S. */
static int receive_dead(struct queue_sqs *q, struct wanted *w, struct sqs_target *dead,
                        struct err *e)
{
    struct sqs_lanes lanes;
    int64_t elsewhere = 0;
    int64_t until_ms = clock_mono_ms() + SCAN_HIDE_S * 1000 + SEARCH_INTERVAL_MS;
    if (queue_sqs_list(q, &lanes, e) != 0) {
        return -1;
    }
    int rc = search_lanes(q, &lanes, w, dead, &elsewhere, e);
    while (rc == 0 && !w->is_found && elsewhere > 0 && clock_mono_ms() < until_ms) {
        clock_sleep_until(clock_mono_ms() + SEARCH_INTERVAL_MS);
        rc = search_lanes(q, &lanes, w, dead, &elsewhere, e);
    }
    queue_sqs_lanes_fini(&lanes);
    if (rc == 0 && !w->is_found) {
        return err_set(e, ERR_NOT_FOUND, 0, "no dead letter has the id %.80s%s", w->id,
                       elsewhere > 0 ? " (another reader holds some: try again in a minute)" : "");
    }
    return rc;
}

static int resend_dead(struct queue_sqs *q, const struct sqs_received *found, struct err *e)
{
    const struct queue_message *m = &found->m;
    struct sqs_target live;
    if (queue_sqs_target(q, m->lane, false, &live, e) != 0) {
        return -1;
    }
    const struct sqs_record again = {.body = {m->body, m->body_len},
                                     .id = m->id,
                                     .key = m->key,
                                     .group = found->group,
                                     .enqueued_ms = m->enqueued_ms};
    return queue_sqs_send_one(q, &live, &again, e);
}

static int change_received(struct queue_sqs *q, const struct sqs_received *found,
                           const struct sqs_target *dead, bool redrive, struct err *e)
{
    if (redrive && resend_dead(q, found, e) != 0) {
        return -1;
    }
    if (queue_sqs_delete(q, dead, found->handle, e) != 0) {
        return err_wrap(e, "%s",
                        redrive
                            ? "the message was put on its lane, but its dead letter was not deleted"
                            : "the dead letter was not deleted");
    }
    return 0;
}

static int sqs_change_dead(struct queue_sqs *q, const char *id, bool redrive, struct err *e)
{
    struct wanted w = {.id = id};
    struct sqs_target dead;
    if (receive_dead(q, &w, &dead, e) != 0) {
        return -1;
    }
    int rc = change_received(q, &w.found, &dead, redrive, e);
    queue_message_fini(&w.found.m);
    return rc;
}

static int sqs_redrive(void *state, const char *id, struct err *e)
{
    return sqs_change_dead(state, id, true, e);
}

static int sqs_delete(void *state, const char *id, struct err *e)
{
    return sqs_change_dead(state, id, false, e);
}

/* --- all of them: each is changed when it is received, not looked for anew --- */
struct judging {
    struct scan scan;
    queue_judge_fn *judge;
    void *arg;
    int64_t *done;
    bool stop;
    int rc;
    struct err *e;
};

static enum visited judge_one(void *arg, struct sqs_received *r)
{
    struct judging *j = arg;
    struct queue_entry entry;
    if (j->stop || j->rc != 0) {
        return VISIT_LEFT;
    }
    make_entry(r, &entry);
    enum queue_verdict v = j->judge(j->arg, &entry);
    j->stop = v == QUEUE_STOP;
    if (v != QUEUE_REDRIVE && v != QUEUE_DELETE) {
        return VISIT_LEFT;
    }
    j->rc = change_received(j->scan.q, r, &j->scan.target, v == QUEUE_REDRIVE, j->e);
    *j->done += j->rc == 0 ? 1 : 0;
    return j->rc == 0 ? VISIT_DELETED : VISIT_LEFT;
}

/* A scan ends after SCAN_MAX: another follows as long as there is progress. */
static int judge_lane(struct judging *j, struct err *e)
{
    int64_t before;
    int64_t elsewhere;
    do {
        before = *j->done;
        if (scan_lane(&j->scan, &elsewhere, e) != 0 || j->rc != 0) {
            return -1;
        }
    } while (!j->stop && j->scan.seen >= SCAN_MAX && *j->done > before);
    return 0;
}

static int sqs_judge_dead(void *state, queue_judge_fn *judge, void *arg, int64_t *done,
                          struct err *e)
{
    struct sqs_lanes lanes;
    if (queue_sqs_list(state, &lanes, e) != 0) {
        return -1;
    }
    struct judging *j = calloc(1, sizeof *j); /* receipts are large */
    ASSERT(j != NULL);
    int rc = 0;
    for (size_t i = 0; i < lanes.count && rc == 0 && !j->stop; i++) {
        *j = (struct judging){
            .scan = {.q = state, .lane = lanes.names[i], .visit = judge_one, .arg = j},
            .judge = judge,
            .arg = arg,
            .done = done,
            .e = e};
        rc = judge_lane(j, e);
    }
    free(j);
    queue_sqs_lanes_fini(&lanes);
    return rc;
}

const struct queue_admin_ops queue_sqs_admin = {
    .judge_dead = sqs_judge_dead,
    .dead = sqs_dead,
    .redrive = sqs_redrive,
    .delete = sqs_delete,
};
