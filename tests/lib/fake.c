#include "tests/lib/fake.h"

#include <stdio.h>

#include "common/http/client.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

json_t *fake_call(const char *address, const char *method, const char *path, const char *body)
{
    static const char *const headers[] = {"Content-Type: application/json"};
    const struct http_client_options o = {
        .user_agent = "test", .proxy = "", .connect_timeout_ms = 5000, .timeout_ms = 20000};
    struct http_client *http = NULL;
    struct http_response r;
    struct err e;
    char url[512];
    (void)snprintf(url, sizeof url, "%s/_fake%s", address, path);
    const struct http_request q = {.method = method,
                                   .url = url,
                                   .headers = headers,
                                   .header_count = COUNT_OF(headers),
                                   .body = slice_of(body)};
    MUST(http_client_new(&o, &http, &e));
    MUST(http_send(http, &q, &r, &e));
    if (r.status < 200 || r.status > 299) {
        fail_msg("%s %s: HTTP %d: %s", method, url, r.status, r.body.len > 0 ? r.body.data : "");
    }
    json_t *answer = json_loadb(r.body.len > 0 ? r.body.data : "", r.body.len, 0, NULL);
    http_response_fini(&r);
    http_client_free(http);
    return answer;
}

void fake_post(const char *address, const char *path, const char *body)
{
    json_decref(fake_call(address, "POST", path, body));
}

void fake_faults(const char *address, const char *json)
{
    json_decref(
        fake_call(address, json != NULL ? "POST" : "DELETE", "/faults", json != NULL ? json : ""));
}
