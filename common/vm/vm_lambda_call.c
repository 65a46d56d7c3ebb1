#include "common/vm/vm_lambda_call.h"

#include <jansson.h>
#include <string.h>

#define API_VERSION "/2025-09-09"
#define URL_MAX 4096
#define NAME_MAX_CHARS 64
#define ANSWER_LIMIT_BYTES ((size_t)4 << 20)
#define THROTTLED_WAIT_MS 1000
#define RETRY_AFTER_MAX_S 3600

/* --- errors ----------------------------------------------------------------------------------- */

struct rule {
    const char *name;
    enum err_class class;
    const char *mend;
};

/* The service's names of errors. What is not here is judged by its status, and unknown is
 * transient. */
static const struct rule rules[] = {
    {"ThrottlingException", ERR_THROTTLED,
     "calls are faster than the account's rate: lower launch_rate, or raise the quota"},
    {"TooManyRequestsException", ERR_THROTTLED,
     "calls are faster than the account's rate: lower launch_rate, or raise the quota"},
    {"ServiceQuotaExceededException", ERR_CAPACITY,
     "the account's memory quota is full, each VM counts at four times its size: lower max_vms, or "
     "raise the quota"},
    {"InsufficientCapacityException", ERR_CAPACITY, "the region has no room now: it is waited for"},
    {"AccessDeniedException", ERR_AUTH,
     "allow lambda:RunMicrovm, GetMicrovm, ListMicrovms, TerminateMicrovm and "
     "PassNetworkConnector, with an execution role iam:PassRole too, and check that the image's "
     "ARN has a colon before its name; a change of policy takes a while"},
    {"UnrecognizedClientException", ERR_AUTH, "check the credentials"},
    {"InvalidSignatureException", ERR_AUTH, "check the credentials and this machine's clock"},
    {"ExpiredTokenException", ERR_AUTH, "the credentials have expired: renew them"},
    {"MissingAuthenticationTokenException", ERR_AUTH,
     "the endpoint wants signed calls: check lambda.endpoint"},
    {"ValidationException", ERR_PERMANENT, "check the class's lambda settings"},
    {"InvalidParameterValueException", ERR_PERMANENT, "check the class's lambda settings"},
    {"UnknownOperationException", ERR_PERMANENT, "check lambda.endpoint"},
    {"ConflictException", ERR_CONFLICT, "the token was used for another launch"},
    {"ResourceConflictException", ERR_CONFLICT, "it is being changed: try again"},
    {"ResourceNotFoundException", ERR_NOT_FOUND, "there is none of that name"},
    {"InternalServerException", ERR_RETRY, "try again"},
    {"ServiceException", ERR_RETRY, "try again"},
};

static const struct rule region_without_service = {
    NULL, ERR_AUTH,
    "a refusal without a word often means that the region has no Lambda MicroVMs: check "
    "lambda.region, then the policy"};
static const struct rule no_version = {
    NULL, ERR_PERMANENT,
    "the image is not there, or has no ACTIVE version: check lambda.image and image_version"};

static const struct rule *rule_by_status(int status)
{
    static const struct rule throttled = {NULL, ERR_THROTTLED, "calls are too fast"};
    static const struct rule refused = {NULL, ERR_AUTH, "check the credentials"};
    static const struct rule other = {NULL, ERR_RETRY,
                                      "try again; if it stays so, check lambda.endpoint"};
    if (status == 429) {
        return &throttled;
    }
    return status == 401 || status == 403 ? &refused : &other;
}

static const struct rule *rule_for(const char *operation, const char *name, bool silent, int status)
{
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        if (strcmp(rules[i].name, name) != 0) {
            continue;
        }
        if (rules[i].class == ERR_AUTH && silent) {
            return &region_without_service;
        }
        bool is_run = strcmp(operation, "RunMicrovm") == 0;
        return rules[i].class == ERR_NOT_FOUND && is_run ? &no_version : &rules[i];
    }
    return rule_by_status(status);
}

static struct slice text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value)
               ? (struct slice){json_string_value(value), json_string_length(value)}
               : (struct slice){NULL, 0};
}

static struct slice first_text(const json_t *object, const char *a, const char *b)
{
    struct slice s = text_of(object, a);
    return s.len > 0 ? s : text_of(object, b);
}

/* "ns#Name" and "Name:http://…" are both usual. */
static void read_name(const struct http_response *r, const json_t *body, char *out, size_t size)
{
    struct slice name = http_header(r, "x-amzn-errortype");
    struct slice head;
    struct slice rest;
    if (name.len == 0) {
        name = first_text(body, "__type", "code");
    }
    (void)slice_cut(name, ':', &head, &rest);
    name = head;
    if (slice_cut(name, '#', &head, &rest)) {
        name = rest;
    }
    if (!slice_to_cstr(slice_trim(name), out, size)) {
        out[0] = '\0';
    }
}

static int64_t retry_after_ms(const struct http_response *r, const json_t *body,
                              enum err_class class)
{
    int64_t seconds = 0;
    const json_t *member = json_object_get(body, "retryAfterSeconds");
    if (!slice_to_int64(http_header(r, "Retry-After"), &seconds) && json_is_integer(member)) {
        seconds = (int64_t)json_integer_value(member);
    }
    if (seconds > 0) {
        return (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
    }
    return class == ERR_THROTTLED ? THROTTLED_WAIT_MS : 0;
}

static int refused(const struct lambda_call *c, const struct http_response *r, struct err *e)
{
    char name[NAME_MAX_CHARS];
    json_t *body = r->body.len > 0 ? json_loadb(r->body.data, r->body.len, 0, NULL) : NULL;
    struct slice message = first_text(body, "message", "Message");
    struct slice id = http_header(r, "x-amzn-RequestId");
    read_name(r, body, name, sizeof name);
    const struct rule *rule = rule_for(c->operation, name, message.len == 0, r->status);
    (void)err_set(e, rule->class, r->status, "%s: %s%s%.*s (HTTP %d, request %.*s): %s",
                  c->operation, name[0] != '\0' ? name : "no answer of the service",
                  message.len > 0 ? ": " : "", message.len > 240 ? 240 : (int)message.len,
                  message.len > 0 ? message.ptr : "", r->status, id.len > 64 ? 64 : (int)id.len,
                  id.len > 0 ? id.ptr : "", rule->mend);
    e->code = r->sends > 1 ? 0 : r->status; /* the call before the refused one may have worked */
    e->retry_after_ms = retry_after_ms(r, body, rule->class);
    json_decref(body);
    return -1;
}

bool lambda_changed_nothing(const struct err *e)
{
    return e->code == HTTP_NOT_SENT || (e->code >= 400 && e->class != ERR_RETRY);
}

/* --- the call --------------------------------------------------------------------------------- */

/* The one place where a request gets its headers, and its signature when there are credentials. */
static int send_request(const struct lambda_service *s, const struct lambda_call *c,
                        const char *url, struct http_response *out, struct err *e)
{
    static const char *const headers[] = {"Content-Type: application/json",
                                          "Accept: application/json"};
    struct http_request request = {.method = c->method,
                                   .url = url,
                                   .headers = headers,
                                   .header_count = COUNT_OF(headers),
                                   .body = c->body,
                                   .response_limit_bytes = ANSWER_LIMIT_BYTES};
    return http_send(s->http, &request, out, e);
}

int lambda_send(const struct lambda_service *s, const struct lambda_call *c,
                struct http_response *out, struct err *e)
{
    struct buf url;
    struct http_response answer;
    buf_init(&url, URL_MAX);
    buf_append_cstr(&url, s->endpoint);
    buf_append_cstr(&url, API_VERSION);
    buf_append(&url, c->target);
    int rc = url.failed ? err_set(e, ERR_PERMANENT, HTTP_NOT_SENT,
                                  "%s: the URL is too long: check lambda.endpoint", c->operation)
                        : send_request(s, c, url.data, &answer, e);
    buf_fini(&url);
    if (rc != 0) {
        return err_wrap(e, "%s", c->operation);
    }
    if (answer.status != 200) {
        (void)refused(c, &answer, e);
        http_response_fini(&answer);
        return -1;
    }
    *out = answer;
    return 0;
}
