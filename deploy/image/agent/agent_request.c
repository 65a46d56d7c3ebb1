#include "deploy/image/agent/agent_request.h"

#include "common/base/json_scan.h"

/* --- whose request it is ---------------------------------------------------------------------- */

/* "localhost", "127.0.0.1" or "[::1]", with a port or without. */
static bool is_local(struct slice host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct slice name = slice_of(names[i]);
        int64_t port;
        if (host.len < name.len || !slice_eq_nocase((struct slice){host.ptr, name.len}, name)) {
            continue;
        }
        struct slice rest = {host.ptr + name.len, host.len - name.len};
        if (rest.len == 0 || (rest.ptr[0] == ':' &&
                              slice_to_int64((struct slice){rest.ptr + 1, rest.len - 1}, &port) &&
                              port > 0 && port <= 65535)) {
            return true;
        }
    }
    return false;
}

bool agent_request_is_forwarded(const struct http_request *r)
{
    struct slice headers = r->headers, name, value;
    bool forwarded = r->authority.len > 0 && !is_local(r->authority);
    while (http_request_next_header(&headers, &name, &value)) {
        forwarded = forwarded || slice_eq_nocase(name, SLICE("x-amzn-requestid")) ||
                    (slice_eq_nocase(name, SLICE("host")) && !is_local(value));
    }
    return forwarded;
}

/* --- the run hook's body ---------------------------------------------------------------------- */

enum body_member { BODY_MICROVM_ID, BODY_PAYLOAD, BODY_MEMBERS };

static bool read_object(struct slice in, struct agent_run_body *out, struct buf *payload)
{
    static const struct json_key keys[] = {
        {JSON_KEY("microvmId"), BODY_MICROVM_ID, NULL},
        {JSON_KEY("runHookPayload"), BODY_PAYLOAD, NULL},
    };
    static const struct json_keys body = {keys, COUNT_OF(keys)};
    struct slice member[BODY_MEMBERS];
    const char *reason;
    if (!json_scan(in, &body, member, BODY_MEMBERS, &reason)) {
        return false;
    }
    out->has_payload = json_is_text(member[BODY_PAYLOAD]);
    if (out->has_payload) {
        json_text(member[BODY_PAYLOAD], payload);
    }
    if (!json_is_text(member[BODY_MICROVM_ID])) {
        return !payload->failed;
    }
    struct buf id;
    buf_init(&id, member[BODY_MICROVM_ID].len);
    json_text(member[BODY_MICROVM_ID], &id);
    bool fits = slice_to_cstr(buf_slice(&id), out->microvm_id, sizeof(out->microvm_id));
    buf_fini(&id);
    return fits && !payload->failed;
}

bool agent_run_body_parse(struct slice in, struct agent_run_body *out, struct buf *payload)
{
    *out = (struct agent_run_body){.has_payload = false};
    in = slice_trim(in);
    if (in.len == 0) {
        return false;
    }
    if (in.ptr[0] == '{') {
        return read_object(in, out, payload);
    }
    out->has_payload = true;
    buf_append(payload, in);
    return !payload->failed;
}
