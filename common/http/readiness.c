#include "common/http/readiness.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/thread.h"

struct readiness {
    bool (*ready)(void *arg, struct buf *why);
    void *arg;
    int wake_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    uint64_t asked; /* requests so far */
    uint64_t answered;
    bool is_ready;
    char why[READINESS_WHY_BYTES];
    bool stopping;
};

static void call_ready(const struct readiness *r, bool *is_ready, char text[READINESS_WHY_BYTES])
{
    struct buf why;
    buf_init(&why, READINESS_WHY_BYTES - 1);
    *is_ready = r->ready == NULL || r->ready(r->arg, &why);
    (void)!slice_to_cstr(buf_slice(&why), text, READINESS_WHY_BYTES);
    buf_fini(&why);
}

static void *serve_requests(void *arg)
{
    struct readiness *r = arg;
    const uint64_t one = 1;
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        if (r->answered == r->asked) {
            pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        uint64_t asked = r->asked;
        bool is_ready = false;
        char why[READINESS_WHY_BYTES] = "";
        pthread_mutex_unlock(&r->lock);
        call_ready(r, &is_ready, why);
        pthread_mutex_lock(&r->lock);
        r->answered = asked;
        r->is_ready = is_ready;
        memcpy(r->why, why, sizeof r->why);
        (void)!write(r->wake_fd, &one, sizeof one);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void readiness_free(struct readiness *r)
{
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

int readiness_start(const struct admin_options *o, int wake_fd, struct readiness **out,
                    struct err *e)
{
    struct readiness *r = calloc(1, sizeof *r);
    ASSERT(r != NULL);
    *r = (struct readiness){.ready = o->ready, .arg = o->arg, .wake_fd = wake_fd};
    ASSERT(pthread_mutex_init(&r->lock, NULL) == 0 && pthread_cond_init(&r->changed, NULL) == 0);
    if (thread_start(&r->thread, "the readiness thread", serve_requests, r, e) != 0) {
        readiness_free(r);
        return -1;
    }
    *out = r;
    return 0;
}

void readiness_stop(struct readiness *r)
{
    if (r == NULL) {
        return;
    }
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    readiness_free(r);
}

uint64_t readiness_ask(struct readiness *r)
{
    pthread_mutex_lock(&r->lock);
    uint64_t asked = ++r->asked;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return asked;
}

uint64_t readiness_answer(struct readiness *r, bool *is_ready, char why[READINESS_WHY_BYTES])
{
    pthread_mutex_lock(&r->lock);
    uint64_t answered = r->answered;
    *is_ready = r->is_ready;
    memcpy(why, r->why, sizeof r->why);
    pthread_mutex_unlock(&r->lock);
    return answered;
}
