#include "common/aws/errors.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

#define RETRY_AFTER_MAX_S 3600
#define MESSAGE_CHARS_MAX 240
#define QUOTE_CHARS_MAX 64 /* longer quotes repeat what was sent */
#define WORD_CHARS_MAX 180

/* --- the table -------------------------------------------------------------------------------- */

#define FIX_SLOWER "calls are faster than the account's rate: make fewer, or raise the quota"
#define FIX_QUOTA "a quota of the account is exhausted: use less, or raise it"
#define FIX_KEYS "check the credentials: their source, and that they belong to this partition"
#define FIX_RENEW "the credentials have expired: renew them at their source"
#define FIX_CLOCK "check this host's clock, and that no proxy changes the request"
#define FIX_POLICY                                                                                 \
    "allow the operation in the policy of these credentials; a change of policy takes a while"
#define FIX_SETTINGS "check the settings that this call is made from"
#define FIX_ENDPOINT "check the endpoint and region: another service responds there"
#define FIX_NONE "there is none of that name in this account and region: check it"
#define FIX_AGAIN "try again"

static const struct aws_error_rule common_rules[] = {
    {"Throttling", ERR_THROTTLED, FIX_SLOWER},
    {"ThrottlingException", ERR_THROTTLED, FIX_SLOWER},
    {"ThrottledException", ERR_THROTTLED, FIX_SLOWER},
    {"RequestThrottled", ERR_THROTTLED, FIX_SLOWER},
    {"RequestThrottledException", ERR_THROTTLED, FIX_SLOWER},
    {"TooManyRequestsException", ERR_THROTTLED, FIX_SLOWER},
    {"TooManyRequests", ERR_THROTTLED, FIX_SLOWER},
    {"RequestLimitExceeded", ERR_THROTTLED, FIX_SLOWER},
    {"ProvisionedThroughputExceededException", ERR_THROTTLED, FIX_SLOWER},
    {"BandwidthLimitExceeded", ERR_THROTTLED, FIX_SLOWER},
    {"PriorRequestNotComplete", ERR_THROTTLED, FIX_SLOWER},
    {"SlowDown", ERR_THROTTLED, FIX_SLOWER},
    {"ServiceQuotaExceededException", ERR_CAPACITY, FIX_QUOTA},
    {"LimitExceededException", ERR_CAPACITY, FIX_QUOTA},
    {"OverLimit", ERR_CAPACITY, FIX_QUOTA},
    {"InsufficientCapacityException", ERR_CAPACITY,
     "the region has no capacity now: Mayfly retries"},
    {"AccessDenied", ERR_AUTH, FIX_POLICY},
    {"AccessDeniedException", ERR_AUTH, FIX_POLICY},
    {"UnauthorizedOperation", ERR_AUTH, FIX_POLICY},
    {"NotAuthorized", ERR_AUTH, FIX_POLICY},
    {"AuthFailure", ERR_AUTH, FIX_KEYS},
    {"UnrecognizedClientException", ERR_AUTH, FIX_KEYS},
    {"InvalidClientTokenId", ERR_AUTH, FIX_KEYS},
    {"InvalidAccessKeyId", ERR_AUTH, FIX_KEYS},
    {"InvalidIdentityToken", ERR_AUTH, "check the web identity's token and its provider"},
    {"IDPRejectedClaim", ERR_AUTH, "check the web identity's token and its provider"},
    {"OptInRequired", ERR_AUTH, "enable the service or the region for this account"},
    {"SubscriptionRequiredException", ERR_AUTH, "enable the service for this account"},
    {"InvalidSignatureException", ERR_AUTH, FIX_CLOCK " and that the secret key is complete"},
    {"SignatureDoesNotMatch", ERR_AUTH, FIX_CLOCK " and that the secret key is complete"},
    {"IncompleteSignature", ERR_AUTH, FIX_CLOCK},
    {"IncompleteSignatureException", ERR_AUTH, FIX_CLOCK},
    {"RequestTimeTooSkewed", ERR_AUTH, FIX_CLOCK},
    {"RequestExpired", ERR_AUTH, FIX_CLOCK},
    {"RequestInTheFuture", ERR_AUTH, FIX_CLOCK},
    {"ExpiredToken", ERR_AUTH, FIX_RENEW},
    {"ExpiredTokenException", ERR_AUTH, FIX_RENEW},
    {"TokenRefreshRequired", ERR_AUTH, FIX_RENEW},
    {"MissingAuthenticationToken", ERR_AUTH, FIX_ENDPOINT},
    {"MissingAuthenticationTokenException", ERR_AUTH, FIX_ENDPOINT},
    {"ValidationException", ERR_PERMANENT, FIX_SETTINGS},
    {"ValidationError", ERR_PERMANENT, FIX_SETTINGS},
    {"InvalidParameterValue", ERR_PERMANENT, FIX_SETTINGS},
    {"InvalidParameterValueException", ERR_PERMANENT, FIX_SETTINGS},
    {"InvalidParameterException", ERR_PERMANENT, FIX_SETTINGS},
    {"InvalidParameterCombination", ERR_PERMANENT, FIX_SETTINGS},
    {"InvalidRequestException", ERR_PERMANENT, FIX_SETTINGS},
    {"MissingParameter", ERR_PERMANENT, FIX_SETTINGS},
    {"MalformedPolicyDocument", ERR_PERMANENT, FIX_SETTINGS},
    {"UnsupportedOperation", ERR_PERMANENT, FIX_SETTINGS},
    {"UnsupportedOperationException", ERR_PERMANENT, FIX_SETTINGS},
    {"SerializationException", ERR_PERMANENT, FIX_ENDPOINT},
    {"UnknownOperationException", ERR_PERMANENT, FIX_ENDPOINT},
    {"InvalidAction", ERR_PERMANENT, FIX_ENDPOINT},
    {"ResourceNotFoundException", ERR_NOT_FOUND, FIX_NONE},
    {"NotFoundException", ERR_NOT_FOUND, FIX_NONE},
    {"ConflictException", ERR_CONFLICT, "it exists already, or was changed concurrently"},
    {"ResourceConflictException", ERR_CONFLICT, "it is being changed: try again"},
    {"ResourceInUseException", ERR_CONFLICT, "it exists already, or is being changed"},
    {"InternalFailure", ERR_RETRY, FIX_AGAIN},
    {"InternalError", ERR_RETRY, FIX_AGAIN},
    {"InternalServerError", ERR_RETRY, FIX_AGAIN},
    {"InternalServerException", ERR_RETRY, FIX_AGAIN},
    {"InternalServiceError", ERR_RETRY, FIX_AGAIN},
    {"ServiceException", ERR_RETRY, FIX_AGAIN},
    {"ServiceUnavailable", ERR_RETRY, FIX_AGAIN},
    {"ServiceUnavailableException", ERR_RETRY, FIX_AGAIN},
    {"RequestTimeout", ERR_RETRY, FIX_AGAIN},
    {"RequestTimeoutException", ERR_RETRY, FIX_AGAIN},
    {"IDPCommunicationError", ERR_RETRY, FIX_AGAIN},
    {NULL, ERR_NONE, NULL},
};

static const struct aws_error_rule *find_rule(const struct aws_error_rule *rules, const char *name)
{
    for (; rules != NULL && rules->name != NULL && name[0] != '\0'; rules++) {
        if (strcmp(rules->name, name) == 0) {
            return rules;
        }
    }
    return NULL;
}

static struct aws_verdict classify_status(const struct aws_answer *a, int status)
{
    if (status == 429) {
        return (struct aws_verdict){ERR_THROTTLED, FIX_SLOWER};
    }
    if (status == 401 || status == 403) {
        return (struct aws_verdict){ERR_AUTH, a->name[0] != '\0'
                                                  ? FIX_KEYS
                                                  : "check the endpoint and the proxy: something "
                                                    "between this host and the service refuses it"};
    }
    if (status == 413) {
        return (struct aws_verdict){ERR_PERMANENT, "the request is too large: make it smaller"};
    }
    return (struct aws_verdict){ERR_RETRY, "try again; if this persists, check the endpoint"};
}

struct aws_verdict aws_classify(const struct aws_answer *a, int status,
                                const struct aws_error_rule *rules)
{
    const struct aws_error_rule *tables[] = {rules, common_rules};
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        const struct aws_error_rule *rule = find_rule(tables[i], a->name);
        rule = rule != NULL ? rule : find_rule(tables[i], a->older);
        if (rule == NULL) {
            continue;
        }
        if (rule->class == ERR_AUTH && a->message[0] == '\0' &&
            slice_starts_with(slice_of(rule->name), SLICE("AccessDenied"))) {
            return (struct aws_verdict){
                ERR_AUTH,
                "a refusal without a message often means that the region does not have the "
                "service: check the region, then the policy"};
        }
        return (struct aws_verdict){rule->class, rule->hint};
    }
    return classify_status(a, status);
}

static bool is_one_of(const struct aws_answer *a, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(a->name, names[i]) == 0 || strcmp(a->older, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool aws_is_about_time(const struct aws_answer *a)
{
    static const char *const names[] = {"RequestTimeTooSkewed",  "RequestExpired",
                                        "RequestInTheFuture",    "InvalidSignatureException",
                                        "SignatureDoesNotMatch", "AuthFailure"};
    return is_one_of(a, names, COUNT_OF(names));
}

bool aws_is_about_credentials(const struct aws_answer *a)
{
    static const char *const names[] = {"ExpiredToken",         "ExpiredTokenException",
                                        "TokenRefreshRequired", "UnrecognizedClientException",
                                        "InvalidClientTokenId", "InvalidAccessKeyId",
                                        "RequestExpired"};
    return is_one_of(a, names, COUNT_OF(names));
}

/* --- XML -------------------------------------------------------------------------------------- */

static struct slice skip_bytes(struct slice s, size_t n)
{
    return (struct slice){s.ptr + n, s.len - n};
}

/* What follows the first `what`; false if it is not found. */
static bool skip_past(struct slice s, struct slice what, struct slice *rest)
{
    const char *at = s.len > 0 ? memmem(s.ptr, s.len, what.ptr, what.len) : NULL;
    if (at == NULL) {
        return false;
    }
    *rest = skip_bytes(s, (size_t)(at - s.ptr) + what.len);
    return true;
}

/* The character of a numeric reference, and the length of the reference with "&#" and ";"; 0 if it
 * is invalid or not ASCII. */
static size_t read_reference(struct slice s, char *value)
{
    unsigned code = 0;
    size_t i = 2;
    bool hex = s.len > 3 && (s.ptr[2] == 'x' || s.ptr[2] == 'X');
    for (i += hex ? 1 : 0; i < s.len && code < 0x80; i++) {
        char c = s.ptr[i];
        bool digit = c >= '0' && c <= '9';
        bool letter = hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
        if (c == ';' && code > 0) {
            *value = (char)code;
            return i + 1;
        }
        if (!digit && !letter) {
            return 0;
        }
        code = code * (hex ? 16 : 10) + (unsigned)(digit ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return 0;
}

static size_t read_entity(struct slice s, char *value)
{
    static const struct {
        struct slice text;
        char value;
    } named[] = {{{"&lt;", 4}, '<'},
                 {{"&gt;", 4}, '>'},
                 {{"&amp;", 5}, '&'},
                 {{"&quot;", 6}, '"'},
                 {{"&apos;", 6}, '\''}};
    for (size_t i = 0; i < COUNT_OF(named); i++) {
        if (slice_starts_with(s, named[i].text)) {
            *value = named[i].value;
            return named[i].text.len;
        }
    }
    return slice_starts_with(s, SLICE("&#")) ? read_reference(s, value) : 0;
}

static void append_decoded(struct slice s, struct buf *out)
{
    while (s.len > 0) {
        char value = s.ptr[0];
        size_t used = value == '&' ? read_entity(s, &value) : 1;
        buf_append_byte(out, value);
        s = skip_bytes(s, used > 0 ? used : 1);
    }
}

bool aws_xml_text(struct slice xml, const char *name, struct buf *out)
{
    struct buf tag;
    struct slice text;
    struct slice rest;
    buf_init(&tag, 256);
    buf_printf(&tag, "<%s>", name);
    bool found = skip_past(xml, buf_slice(&tag), &rest);
    buf_fini(&tag);
    if (!found || !slice_cut(rest, '<', &text, &rest) || rest.len == 0 || rest.ptr[0] != '/') {
        return false;
    }
    append_decoded(text, out);
    return !out->failed;
}

/* --- reading a response ----------------------------------------------------------------------- */

int64_t aws_http_date(struct slice text)
{
    char copy[40];
    struct tm tm = {0};
    if (!slice_to_cstr(text, copy, sizeof copy)) {
        return -1;
    }
    const char *end = strptime(copy, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return end != NULL && *end == '\0' ? (int64_t)timegm(&tm) * 1000 : -1;
}

static struct slice json_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value)
               ? (struct slice){json_string_value(value), json_string_length(value)}
               : (struct slice){NULL, 0};
}

static struct slice first_non_empty(struct slice a, struct slice b)
{
    return a.len > 0 ? a : b;
}

/* "ns#Name", "Name:http://…" and "Name;Sender" are all common. */
static void keep_name(struct slice text, char *out, size_t size)
{
    struct slice head;
    struct slice rest;
    (void)slice_cut(text, ';', &head, &rest);
    (void)slice_cut(head, ':', &text, &rest);
    if (slice_cut(text, '#', &head, &rest)) {
        text = rest;
    }
    text = slice_trim(text);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f) {
            text.len = 0; /* no error name has such characters */
        }
    }
    if (!slice_to_cstr(text, out, size)) {
        out[0] = '\0';
    }
}

/* The length of the quote or word that starts at s. */
static size_t word_or_quote_length(struct slice s, bool quoted)
{
    size_t n = quoted ? 1 : 0;
    while (n < s.len && (quoted ? s.ptr[n] != s.ptr[0] : s.ptr[n] != ' ')) {
        n++;
    }
    return quoted && n < s.len ? n + 1 : n;
}

/* One line of printable characters; a word too long to be a name is left out. */
static void keep_message(struct slice text, char *out, size_t size)
{
    struct buf b;
    struct slice rest;
    (void)slice_cut(text, '\n', &text, &rest);
    text = slice_trim(text);
    buf_init(&b, size - 1);
    while (text.len > 0 && b.len < MESSAGE_CHARS_MAX) {
        bool starts = b.len == 0 || strchr(" (:=[", b.data[b.len - 1]) != NULL;
        bool quoted = starts && (text.ptr[0] == '\'' || text.ptr[0] == '"');
        size_t run = starts ? word_or_quote_length(text, quoted) : 1;
        if (run > (quoted ? QUOTE_CHARS_MAX : WORD_CHARS_MAX)) {
            buf_append_cstr(&b, "(...)");
        } else {
            run = 1;
            buf_append_byte(&b, text.ptr[0] >= ' ' && text.ptr[0] < 0x7f ? text.ptr[0] : '?');
        }
        text = skip_bytes(text, run);
    }
    if (!slice_to_cstr(buf_slice(&b), out, size)) {
        out[0] = '\0';
    }
    buf_fini(&b);
}

static int64_t given_wait_ms(const struct http_response *r, const json_t *body)
{
    int64_t seconds = 0;
    const json_t *member = json_object_get(body, "retryAfterSeconds");
    if (!slice_to_int64(http_header(r, "Retry-After"), &seconds) && json_is_integer(member)) {
        seconds = (int64_t)json_integer_value(member);
    }
    if (seconds <= 0) {
        return 0;
    }
    return (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}

static void read_json(const struct http_response *r, const json_t *body, struct aws_answer *out)
{
    struct slice name = http_header(r, "x-amzn-errortype");
    name =
        first_non_empty(name, first_non_empty(json_text(body, "__type"), json_text(body, "code")));
    name = first_non_empty(name, json_text(json_object_get(body, "Error"), "Code"));
    keep_name(name, out->name, sizeof out->name);
    struct slice message = first_non_empty(json_text(body, "message"), json_text(body, "Message"));
    message = first_non_empty(message, json_text(json_object_get(body, "Error"), "Message"));
    keep_message(message, out->message, sizeof out->message);
}

static void read_xml(struct slice body, struct aws_answer *out)
{
    struct buf text;
    buf_init(&text, 4096);
    if (aws_xml_text(body, "Code", &text)) {
        keep_name(buf_slice(&text), out->name, sizeof out->name);
        buf_reset(&text);
        if (aws_xml_text(body, "Message", &text)) {
            keep_message(buf_slice(&text), out->message, sizeof out->message);
        }
    }
    buf_reset(&text);
    if (out->request_id[0] == '\0' && aws_xml_text(body, "RequestId", &text)) {
        keep_name(buf_slice(&text), out->request_id, sizeof out->request_id);
    }
    buf_fini(&text);
}

void aws_answer_read(const struct http_response *r, struct aws_answer *out)
{
    struct slice body = slice_trim(buf_slice(&r->body));
    json_t *json =
        body.len > 0 && body.ptr[0] == '{' ? json_loadb(body.ptr, body.len, 0, NULL) : NULL;
    *out = (struct aws_answer){.date_ms = aws_http_date(http_header(r, "Date"))};
    keep_name(
        first_non_empty(http_header(r, "x-amzn-RequestId"), http_header(r, "x-amz-request-id")),
        out->request_id, sizeof out->request_id);
    keep_name(http_header(r, "x-amzn-query-error"), out->older, sizeof out->older);
    read_json(r, json, out);
    if (json == NULL && out->name[0] == '\0') {
        read_xml(body, out);
    }
    if (out->name[0] == '\0') {
        memcpy(out->name, out->older, sizeof out->name);
    }
    out->retry_after_ms = given_wait_ms(r, json);
    json_decref(json);
}
