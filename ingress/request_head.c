#include "ingress/request_head.h"

#include "common/base/attr.h"
#include "common/github/webhook.h"

/* The first of several counts; headers that must not be repeated are counted. */
static void set_if_first(struct slice *kept, const char *value)
{
    if (kept->ptr == NULL) {
        *kept = slice_of(value);
    }
}

void request_head_add(struct request_head *h, const char *name, const char *value)
{
    const struct {
        struct slice name;
        struct slice *kept;
    } known[] = {
        {SLICE("Content-Length"), &h->content_length},
        {SLICE("Transfer-Encoding"), &h->transfer_encoding},
        {SLICE("Content-Type"), &h->content_type},
        {SLICE("X-Hub-Signature-256"), &h->signature},
        {SLICE("X-GitHub-Event"), &h->event},
        {SLICE("X-GitHub-Delivery"), &h->delivery},
    };
    struct slice given = slice_of(name);
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (slice_eq_nocase(given, known[i].name)) {
            set_if_first(known[i].kept, value);
            h->content_lengths += i == 0 ? 1 : 0;
            return;
        }
    }
}

static bool set_refusal(struct answer *out, int code, const char *reason, bool close)
{
    *out = (struct answer){code, reason, close};
    return false;
}

/* RFC 9112, section 6: one length in plain digits, or chunked alone. */
static bool is_framing_sound(const struct request_head *h)
{
    struct slice length = h->content_length;
    if (h->transfer_encoding.ptr != NULL) {
        return h->content_lengths == 0 && slice_eq_nocase(h->transfer_encoding, SLICE("chunked"));
    }
    if (h->content_lengths > 1) {
        return false;
    }
    for (size_t i = 0; i < length.len; i++) {
        if (length.ptr[i] < '0' || length.ptr[i] > '9') {
            return false;
        }
    }
    return h->content_lengths == 0 || length.len > 0;
}

bool request_head_asks_health(const struct request_head *h, struct answer *healthy)
{
    /* evhttp reads no body after GET, so the connection cannot be reused after one. */
    bool has_body = h->content_lengths > 0 || h->transfer_encoding.ptr != NULL;
    *healthy = (struct answer){200, "healthy", has_body};
    return h->is_get && !h->has_nul && slice_eq_cstr(h->path, "/healthz");
}

bool request_head_check(const struct request_head *h, struct slice our_path, struct answer *out)
{
    if (h->has_nul) {
        return set_refusal(out, 400, "nul_byte", true);
    }
    if (!is_framing_sound(h)) {
        return set_refusal(out, 400, "bad_framing", true);
    }
    /* evhttp reads no body after some methods, so the connection cannot be reused. */
    if (!slice_eq(h->path, our_path)) {
        return set_refusal(out, 404, "other_path", !h->is_post);
    }
    if (!h->is_post) {
        return set_refusal(out, 405, "method", true);
    }
    if (h->content_lengths == 0 && h->transfer_encoding.ptr == NULL) {
        return set_refusal(out, 411, "no_length", true);
    }
    if (webhook_form(h->content_type) == WEBHOOK_UNKNOWN) {
        return set_refusal(out, 415, "content_type", false);
    }
    if (h->signature.len == 0) {
        return set_refusal(out, 401, "no_signature", false);
    }
    return true;
}
