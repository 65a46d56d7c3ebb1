/*
 * Why connections failed, as librdkafka logs it: its calls only say that they timed out. The text
 * is all there is, because error codes come in a callback that is served by polling, which a caller
 * that waits for a call does not do.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/kafka/internal.h"

/* librdkafka 2.0.2 logs a broker's same failure again after 30 s, newer ones at each attempt. */
#define FRESH_MS 45000
#define REPORT_EVERY_MS 30000

struct kafka_trouble {
    pthread_mutex_t lock; /* protects the members below */
    enum err_class class; /* ERR_NONE: nothing is remembered */
    int64_t at_ms;        /* monotonic */
    int64_t reported_ms;  /* the last for which kafka_trouble_remember returned true; 0: none */
    char text[320];
};

struct kafka_trouble *kafka_trouble_new(void)
{
    struct kafka_trouble *t = calloc(1, sizeof *t);
    ASSERT(t != NULL && pthread_mutex_init(&t->lock, NULL) == 0);
    return t;
}

void kafka_trouble_free(struct kafka_trouble *t)
{
    if (t != NULL) {
        pthread_mutex_destroy(&t->lock);
        free(t);
    }
}

enum err_class kafka_trouble_class(const char *text)
{
    static const char *const refusals[] = {
        "SASL authentication error:",  "SASL SCRAM authentication failed:",
        "mechanism handshake failed:", "certificate verify failed",
        "certificate could not be",    "alert bad certificate",
        "alert certificate",           "alert unknown ca"};
    /* The connection broke in the middle of it. */
    if (strstr(text, "SaslAuthenticateRequest failed:") != NULL) {
        return ERR_RETRY;
    }
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        if (strstr(text, refusals[i]) != NULL) {
            return ERR_AUTH;
        }
    }
    return ERR_RETRY;
}

static bool is_fresh(const struct kafka_trouble *t, int64_t now_ms)
{
    return t->class != ERR_NONE && now_ms - t->at_ms < FRESH_MS;
}

bool kafka_trouble_remember(const struct kafka_cluster *c, enum err_class class, const char *text)
{
    struct kafka_trouble *t = c->trouble;
    int64_t now_ms = clock_mono_ms();
    struct slice s = slice_of(text);
    s.len = s.len < sizeof t->text ? s.len : sizeof t->text - 1;
    pthread_mutex_lock(&t->lock);
    /* What a person must act upon is not hidden by a broker that is merely restarted. */
    if (class == ERR_AUTH || t->class != ERR_AUTH || !is_fresh(t, now_ms)) {
        t->class = class;
        t->at_ms = now_ms;
        memcpy(t->text, s.ptr, s.len);
        t->text[s.len] = '\0';
    }
    bool report =
        class == ERR_AUTH && (t->reported_ms == 0 || now_ms - t->reported_ms >= REPORT_EVERY_MS);
    t->reported_ms = report ? now_ms : t->reported_ms;
    pthread_mutex_unlock(&t->lock);
    return report;
}

bool kafka_cluster_trouble(const struct kafka_cluster *c, struct err *out)
{
    struct kafka_trouble *t = c->trouble;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&t->lock);
    bool fresh = is_fresh(t, now_ms);
    if (fresh) {
        (void)err_fill(out, t->class, 0, "%s", t->text);
    }
    pthread_mutex_unlock(&t->lock);
    return fresh;
}
