/* Sources: docs.github.com, "Rate limits for the REST API" and "Troubleshooting the REST API". */
#include <string.h>

#include "common/github/internal.h"

#define PAUSE_MIN_MS INT64_C(1000)
#define PAUSE_MAX_MS (INT64_C(65) * 60 * 1000) /* the primary window is an hour */
#define SECONDARY_DOUBLINGS 4

static int64_t clamp_wait(int64_t ms)
{
    if (ms < PAUSE_MIN_MS) {
        return PAUSE_MIN_MS;
    }
    return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

/* -1 if there is no such header or it is not a number. */
static int64_t number_header(const struct http_response *r, const char *name)
{
    int64_t value = -1;
    struct slice text = http_header(r, name);
    return text.len > 0 && slice_to_int64(text, &value) && value >= 0 ? value : -1;
}

/* The time of retry-after; -1 without one. */
static int64_t retry_after_ms(const struct http_response *r)
{
    int64_t seconds = number_header(r, "retry-after");
    if (seconds < 0) {
        return -1;
    }
    return seconds < PAUSE_MAX_MS / 1000 ? clamp_wait(seconds * 1000) : PAUSE_MAX_MS;
}

/* The time until x-ratelimit-reset plus a second, as clocks differ; -1 without one. */
static int64_t until_reset_ms(const struct http_response *r, int64_t now_ms)
{
    int64_t reset_s = number_header(r, "x-ratelimit-reset");
    if (reset_s < 0 || reset_s > INT64_MAX / 1000 - 1) {
        return -1;
    }
    return clamp_wait((reset_s + 1) * 1000 - now_ms);
}

/* Resources other than "core" have their own windows. */
static bool is_core(const struct http_response *r)
{
    struct slice resource = http_header(r, "x-ratelimit-resource");
    return resource.len == 0 || slice_eq_cstr(resource, "core");
}

static bool speaks_of_limits(const char *message)
{
    return strcasestr(message, "rate limit") != NULL || strcasestr(message, "abuse") != NULL;
}

/* GitHub uses 403 and 429 for both kinds of limit; a 403 without any sign of a limit is a
 * refusal. */
static void judge_limit(const struct http_response *r, int64_t now_ms,
                        const struct github_silence *silence, struct github_verdict *out)
{
    int64_t pause_ms = retry_after_ms(r);
    if (pause_ms < 0 && out->remaining == 0) {
        pause_ms = until_reset_ms(r, now_ms);
    }
    if (pause_ms >= 0) {
        out->class = ERR_THROTTLED;
        out->close = true;
        out->wait_ms = pause_ms;
        return;
    }
    if (r->status == 403 && out->remaining != 0 && !speaks_of_limits(out->message)) {
        out->class = ERR_AUTH;
        return;
    }
    int doublings = silence->hits < SECONDARY_DOUBLINGS ? silence->hits : SECONDARY_DOUBLINGS;
    out->class = ERR_THROTTLED;
    out->close = true;
    out->secondary = true;
    out->wait_ms = clamp_wait(silence->pause_ms << (doublings > 0 ? doublings : 0));
}

static enum err_class class_of_status(int status)
{
    switch (status) {
    case 401:
        return ERR_AUTH;
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_CONFLICT;
    case 408:
        return ERR_RETRY;
    default:
        return status >= 400 && status < 500 ? ERR_PERMANENT : ERR_RETRY;
    }
}

/* The last call of the window succeeded, and the next one would be refused. */
static void judge_success(const struct http_response *r, int64_t now_ms, struct github_verdict *out)
{
    int64_t pause_ms = is_core(r) && out->remaining == 0 ? until_reset_ms(r, now_ms) : 0;
    out->class = ERR_NONE;
    out->close = pause_ms > 0;
    out->wait_ms = pause_ms > 0 ? pause_ms : 0;
}

void github_judge(const struct http_response *r, int64_t now_ms,
                  const struct github_silence *silence, struct github_verdict *out)
{
    int64_t reset_s = number_header(r, "x-ratelimit-reset");
    *out = (struct github_verdict){
        .remaining = number_header(r, "x-ratelimit-remaining"),
        .limit = is_core(r) ? number_header(r, "x-ratelimit-limit") : -1,
        .reset_ms = reset_s >= 0 && reset_s < INT64_MAX / 1000 ? reset_s * 1000 : -1};
    github_printable(http_header(r, "x-github-request-id"), out->request_id,
                     sizeof out->request_id);
    if (r->status >= 200 && r->status < 300) {
        judge_success(r, now_ms, out);
        return;
    }
    github_parse_message(buf_slice(&r->body), out->message, sizeof out->message);
    github_printable(http_header(r, "x-accepted-github-permissions"), out->permissions,
                     sizeof out->permissions);
    if (r->status == 403 || r->status == 429) {
        judge_limit(r, now_ms, silence, out);
        return;
    }
    out->class = class_of_status(r->status);
    int64_t after_ms = out->class == ERR_RETRY ? retry_after_ms(r) : -1;
    out->wait_ms = after_ms > 0 ? after_ms : 0;
}
