#include "worker/outcome.h"

#include "common/base/backoff.h"

#define WAIT_DEFAULT_MS 5000 /* if the error has no retry-after */

struct rule {
    enum outcome_action action;
    bool pause_class;
};

static const struct rule rules[] = {
    [ERR_NONE] = {OUTCOME_RETRY, false},
    [ERR_RETRY] = {OUTCOME_RETRY, false},
    [ERR_THROTTLED] = {OUTCOME_WAIT, true},
    [ERR_CAPACITY] = {OUTCOME_WAIT, true},
    [ERR_PERMANENT] = {OUTCOME_DEAD_LETTER, false},
    /* Keys are rotated and permissions take time to spread: worth the attempts, then the
     * dead-letter queue. */
    [ERR_AUTH] = {OUTCOME_RETRY, false},
    /* GitHub also returns "not found" for what the App may not see, and for a while after an
     * install. */
    [ERR_NOT_FOUND] = {OUTCOME_RETRY, false},
    [ERR_CONFLICT] = {OUTCOME_RETRY, false},
};

struct outcome outcome_of(const struct err *e, int64_t attempts, const struct config_retry *retry)
{
    struct rule rule = (size_t)e->class < COUNT_OF(rules) ? rules[e->class] : rules[ERR_RETRY];
    struct outcome out = {.action = rule.action, .pause_class = rule.pause_class};
    if (out.action == OUTCOME_RETRY && attempts + 1 >= retry->max_attempts) {
        out.action = OUTCOME_DEAD_LETTER;
    }
    if (out.action == OUTCOME_RETRY) {
        int attempt = attempts < 1000 ? (int)attempts + 1 : 1000;
        out.delay_ms = backoff_full_jitter_ms(retry->base_delay_ms, retry->max_delay_ms, attempt);
        if (out.delay_ms < e->retry_after_ms) {
            out.delay_ms = e->retry_after_ms;
        }
    } else if (out.action == OUTCOME_WAIT) {
        out.delay_ms = e->retry_after_ms > 0 ? e->retry_after_ms : WAIT_DEFAULT_MS;
    }
    return out;
}

const char *outcome_name(enum outcome_action a)
{
    static const char *const names[] = {"retry", "wait", "dead_letter"};
    return (size_t)a < COUNT_OF(names) ? names[a] : "unknown";
}
