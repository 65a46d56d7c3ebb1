/*
 * The answers to all requests that need the stores, but for the stream: one thread, one after the other.
 *
 * What several people ask within ANSWER_FRESH_MS is read once. CONSOLE_QUESTIONS_MAX may wait or be
 * answered and not taken; the next one is refused.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/thread.h"
#include "deploy/ctl/cli/report.h"
#include "deploy/ctl/cli/stores.h"
#include "deploy/ctl/commands.h"
#include "deploy/ctl/console/console.h"

#define ANSWER_FRESH_MS 1000
#define USUAL_FRESH_MS 60000
#define KEPT_MAX 16
#define KEPT_LIMIT_BYTES ((size_t)1 << 20) /* a larger answer is not kept */

struct question {
    uint64_t id;
    char target[CONSOLE_TARGET_SIZE];
};

struct kept {
    char target[CONSOLE_TARGET_SIZE];
    int64_t until_ms; /* monotonic */
    int status;
    struct buf body;
};

struct answers {
    struct ctl ctl; /* the thread's own, with its stores */
    struct kept kept[KEPT_MAX];
    size_t next_kept;
    int wake_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct question questions[CONSOLE_QUESTIONS_MAX]; /* a ring, as the next */
    size_t first_question;
    size_t question_count;
    struct answer done[CONSOLE_QUESTIONS_MAX];
    size_t first_done;
    size_t done_count;
    size_t open; /* asked, and not taken */
    bool stopping;
};

/* --- one question --- */

static int status_of(const struct err *e)
{
    switch (e->class) {
    case ERR_NOT_FOUND:
        return 404;
    case ERR_PERMANENT:
        return 400;
    case ERR_NONE:
    case ERR_RETRY:
    case ERR_THROTTLED:
    case ERR_CAPACITY:
    case ERR_AUTH:
    case ERR_CONFLICT:
        break;
    }
    return 503;
}

static int call(struct ctl *c, const struct route_call *call, json_t **out, struct err *e)
{
    if (ctl_open_stores(c, CTL_QUEUE | CTL_LEDGER, e) != 0) {
        return -1;
    }
    if (call->command == NULL) {
        return usual_build(c, call->argv[0], out, e);
    }
    return call->command->build != NULL ? call->command->build(c, out, e)
                                        : ctl_status(c, out, e); /* the only one without */
}

static int ask_stores(struct ctl *c, const char *target, json_t **out, struct err *e)
{
    struct route_call *r = calloc(1, sizeof *r);
    struct slice path;
    struct slice query;
    ASSERT(r != NULL);
    (void)slice_cut(slice_of(target), '?', &path, &query);
    int rc = route_read(path, query, r, e);
    if (rc == 0) {
        c->given = r->given;
        c->given_count = r->given_count;
        c->argv = r->argv;
        c->argc = r->argc;
        rc = call(c, r, out, e);
        c->given = NULL;
        c->given_count = 0;
        c->argv = NULL;
        c->argc = 0;
        c->exit_code = 0;
    }
    free(r);
    return rc;
}

static void render(const json_t *answer, struct buf *out)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    ASSERT(text != NULL);
    buf_append_cstr(out, text);
    free(text);
}

static void answer_question(struct answers *a, const char *target, struct answer *out)
{
    struct err e = {0};
    json_t *answer = NULL;
    int rc = ask_stores(&a->ctl, target, &answer, &e);
    if (rc == 0) {
        out->status = 200;
        render(answer, &out->body);
        json_decref(answer);
    }
    if (rc == 0 && out->body.failed) {
        console_limit_reached(CONSOLE_LIMIT_RESPONSE);
        rc = err_set(&e, ERR_CAPACITY, 0, "the answer is larger than %zu bytes: ask for less",
                     CONSOLE_ANSWER_LIMIT_BYTES);
    }
    if (rc != 0) {
        out->status = status_of(&e);
        buf_reset(&out->body);
        json_t *trouble = report_object(&e);
        render(trouble, &out->body);
        json_decref(trouble);
    }
    if (out->status == 503) {
        ctl_close_stores(&a->ctl); /* the next one opens them anew */
    }
}

/* --- what was read a moment ago --- */

static bool use_kept(const struct answers *a, const char *target, struct answer *out)
{
    for (size_t i = 0; i < KEPT_MAX; i++) {
        const struct kept *k = &a->kept[i];
        if (k->until_ms > clock_mono_ms() && strcmp(k->target, target) == 0) {
            out->status = k->status;
            buf_append(&out->body, buf_slice(&k->body));
            return true;
        }
    }
    return false;
}

static void keep(struct answers *a, const char *target, const struct answer *answer)
{
    struct kept *k = &a->kept[a->next_kept++ % KEPT_MAX];
    bool is_usual = strncmp(target, "/api/usual?", 11) == 0;
    if (answer->body.len > KEPT_LIMIT_BYTES || answer->status != 200) {
        return;
    }
    buf_fini(&k->body);
    buf_init(&k->body, KEPT_LIMIT_BYTES);
    buf_append(&k->body, buf_slice(&answer->body));
    (void)snprintf(k->target, sizeof k->target, "%s", target);
    k->status = answer->status;
    k->until_ms = clock_mono_ms() + (is_usual ? USUAL_FRESH_MS : ANSWER_FRESH_MS);
}

/* --- the thread --- */

static void take_question(struct answers *a, struct question *out)
{
    *out = a->questions[a->first_question];
    a->first_question = (a->first_question + 1) % CONSOLE_QUESTIONS_MAX;
    a->question_count--;
}

static void put_answer(struct answers *a, const struct answer *answer)
{
    const uint64_t one = 1;
    a->done[(a->first_done + a->done_count) % CONSOLE_QUESTIONS_MAX] = *answer;
    a->done_count++;
    (void)!write(a->wake_fd, &one, sizeof one);
}

static void *run_answers(void *arg)
{
    struct answers *a = arg;
    struct question q;
    pthread_mutex_lock(&a->lock);
    while (!a->stopping) {
        if (a->question_count == 0) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        take_question(a, &q);
        pthread_mutex_unlock(&a->lock);
        struct answer answer = {.id = q.id};
        buf_init(&answer.body, CONSOLE_ANSWER_LIMIT_BYTES);
        if (!use_kept(a, q.target, &answer)) {
            answer_question(a, q.target, &answer);
            keep(a, q.target, &answer);
        }
        pthread_mutex_lock(&a->lock);
        put_answer(a, &answer);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* --- for the server --- */

bool answers_ask(struct answers *a, uint64_t id, const char *target)
{
    pthread_mutex_lock(&a->lock);
    bool has_room = a->open < CONSOLE_QUESTIONS_MAX;
    if (has_room) {
        struct question *q =
            &a->questions[(a->first_question + a->question_count) % CONSOLE_QUESTIONS_MAX];
        q->id = id;
        (void)snprintf(q->target, sizeof q->target, "%s", target);
        a->question_count++;
        a->open++;
        pthread_cond_signal(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return has_room;
}

bool answers_take(struct answers *a, struct answer *out)
{
    pthread_mutex_lock(&a->lock);
    bool is_there = a->done_count > 0;
    if (is_there) {
        *out = a->done[a->first_done];
        a->first_done = (a->first_done + 1) % CONSOLE_QUESTIONS_MAX;
        a->done_count--;
        a->open--;
    }
    pthread_mutex_unlock(&a->lock);
    return is_there;
}

/* --- its life --- */

static void answers_free(struct answers *a)
{
    for (size_t i = 0; i < KEPT_MAX; i++) {
        buf_fini(&a->kept[i].body);
    }
    for (size_t i = 0; i < a->done_count; i++) {
        buf_fini(&a->done[(a->first_done + i) % CONSOLE_QUESTIONS_MAX].body);
    }
    ctl_close_stores(&a->ctl);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

int answers_start(const struct ctl *c, int wake_fd, struct answers **out, struct err *e)
{
    struct answers *a = calloc(1, sizeof *a);
    ASSERT(a != NULL);
    a->ctl = (struct ctl){.config = c->config, .serves = true};
    a->wake_fd = wake_fd;
    ASSERT(pthread_mutex_init(&a->lock, NULL) == 0 && pthread_cond_init(&a->changed, NULL) == 0);
    if (thread_start(&a->thread, "the console's answers", run_answers, a, e) != 0) {
        answers_free(a);
        return -1;
    }
    *out = a;
    return 0;
}

void answers_stop(struct answers *a)
{
    if (a == NULL) {
        return;
    }
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    answers_free(a);
}
