#include "ingress/request_head.h"

#include "common/base/attr.h"
#include "common/github/webhook.h"

void request_head_read(struct slice headers, struct request_head *out)
{
    const struct {
        struct slice name;
        struct slice *kept;
    } known[] = {
        {SLICE("Content-Type"), &out->content_type},
        {SLICE("X-Hub-Signature-256"), &out->signature},
        {SLICE("X-GitHub-Event"), &out->event},
        {SLICE("X-GitHub-Delivery"), &out->delivery},
    };
    struct slice name, value;
    *out = (struct request_head){.content_type = {.len = 0}};
    while (http_request_next_header(&headers, &name, &value)) {
        for (size_t i = 0; i < COUNT_OF(known); i++) {
            if (known[i].kept->ptr == NULL && slice_eq_nocase(name, known[i].name)) {
                *known[i].kept = value;
            }
        }
        if (slice_eq_nocase(name, SLICE("Forwarded"))) {
            forwarded_lines_add(&out->forwarded, value);
        } else if (slice_eq_nocase(name, SLICE("X-Forwarded-For"))) {
            forwarded_lines_add(&out->x_forwarded_for, value);
        }
    }
}

/* "//webhook" and "/webhook/" are "/webhook": proxies join paths so. */
static bool is_path(struct slice given, struct slice ours)
{
    while (given.len > 1 && given.ptr[0] == '/' && given.ptr[1] == '/') {
        given = (struct slice){given.ptr + 1, given.len - 1};
    }
    while (given.len > 1 && given.ptr[given.len - 1] == '/') {
        given.len--;
    }
    while (ours.len > 1 && ours.ptr[ours.len - 1] == '/') {
        ours.len--;
    }
    return slice_eq(given, ours);
}

static enum head_verdict refuse(struct answer *out, int code, const char *reason)
{
    *out = (struct answer){code, reason, false};
    return HEAD_REFUSED;
}

static bool asks_health(const struct http_request *r)
{
    return is_path(r->path, SLICE("/healthz")) &&
           (slice_eq_cstr(r->method, "GET") || slice_eq_cstr(r->method, "HEAD"));
}

enum head_verdict request_head_judge(const struct http_request *r, const struct request_head *h,
                                     struct slice our_path, size_t max_body_bytes,
                                     struct answer *refusal)
{
    unsigned char digest[32];
    if (asks_health(r)) {
        return HEAD_ASKS_HEALTH;
    }
    if (!is_path(r->path, our_path)) {
        return refuse(refusal, 404, "other_path");
    }
    if (!slice_eq_cstr(r->method, "POST")) {
        return refuse(refusal, 405, "method");
    }
    if (webhook_form(h->content_type) == WEBHOOK_UNKNOWN) {
        return refuse(refusal, 415, "content_type");
    }
    if (!r->has_length && !r->is_chunked) {
        return refuse(refusal, 411, "no_length");
    }
    if (r->length > max_body_bytes) {
        return refuse(refusal, 413, "too_large");
    }
    if (h->signature.len == 0) {
        return refuse(refusal, 401, "no_signature");
    }
    if (!webhook_signature_parse(h->signature, digest)) {
        return refuse(refusal, 401, "bad_signature");
    }
    return HEAD_IS_WEBHOOK;
}

struct answer request_head_refusal(const struct http_request *r)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {413, "too_large"}, {414, "long_target"},     {417, "expectation"},
        {431, "long_head"}, {501, "transfer_coding"}, {505, "http_version"},
    };
    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        if (r->status == reasons[i].status) {
            return (struct answer){r->status, reasons[i].reason, true};
        }
    }
    return (struct answer){400, "bad_request", true};
}
