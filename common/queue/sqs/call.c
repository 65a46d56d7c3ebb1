/*
 * The queue on SQS: one call of its JSON protocol, and the entries of a batch's response.
 */
#include <stdio.h>
#include <string.h>

#include "common/aws/errors.h"
#include "common/base/clock.h"
#include "common/queue/sqs/internal.h"

#define FIX_QUEUE "create the queue, or check the URL's prefix, region and account"
#define FIX_ENDPOINT "check that the endpoint is SQS, and of this region"
#define FIX_KMS                                                                                    \
    "check the key's state, and that these credentials may kms:GenerateDataKey and "               \
    "kms:Decrypt with it"

/* --- one call --- */
void queue_sqs_begin(struct buf *out, const struct sqs_target *t)
{
    buf_append_cstr(out, "{\"QueueUrl\":");
    buf_append_json(out, slice_of(t->url));
}

static bool is_missing(const char *name)
{
    return strcmp(name, "QueueDoesNotExist") == 0 ||
           strcmp(name, "AWS.SimpleQueueService.NonExistentQueue") == 0;
}

static void forget_url(struct queue_sqs *q, const struct sqs_target *t)
{
    pthread_mutex_lock(&q->lock);
    for (struct sqs_lane *l = q->lanes; l != NULL; l = l->next) {
        for (size_t i = 0; i < COUNT_OF(l->url); i++) {
            if (strcmp(l->url[i], t->url) == 0) {
                l->url[i][0] = '\0';
            }
        }
    }
    pthread_mutex_unlock(&q->lock);
}

/* Prefixes the error with the queue's name, which AWS's messages lack. */
static int wrap_refusal(struct queue_sqs *q, const struct sqs_call *c, const struct aws_refusal *r,
                        struct err *e)
{
    if (c->target == NULL) {
        return -1;
    }
    if (is_missing(r->name)) {
        forget_url(q, c->target);
    }
    return err_wrap(e, "queue %s", c->target->name);
}

static int read_reply(const struct sqs_call *c, const struct http_response *r, json_t **out,
                      struct err *e)
{
    json_error_t error;
    struct slice text = slice_trim(buf_slice(&r->body));
    /* An operation without a result has an empty body, or {}. */
    json_t *body = text.len > 0 ? json_loadb(text.ptr, text.len, 0, &error) : json_object();
    if (!json_is_object(body)) {
        json_decref(body);
        return err_set(
            e, ERR_RETRY, 0,
            "queue %s: %s: the response (%zu bytes) is not a JSON object: check that the "
            "endpoint is SQS",
            c->target != NULL ? c->target->name : "-", c->operation, text.len);
    }
    *out = body;
    return 0;
}

int queue_sqs_send(struct queue_sqs *q, const struct sqs_call *c, json_t **out,
                   struct aws_refusal *refusal, struct err *e)
{
    struct aws_refusal own = {0};
    struct aws_refusal *r = refusal != NULL ? refusal : &own;
    struct http_response response;
    const struct aws_call call = {.operation = c->operation,
                                  .target = "AmazonSQS",
                                  .content_type = "application/x-amz-json-1.0",
                                  .body = c->body,
                                  .timeout_ms = q->config.timeout_ms + c->wait_s * 1000};
    if (aws_send(q->client, &call, &response, r, e) != 0) {
        int rc = wrap_refusal(q, c, r, e);
        aws_refusal_fini(&own);
        return rc;
    }
    int rc = read_reply(c, &response, out, e);
    http_response_fini(&response);
    return rc;
}

/* ERR_PERMANENT is left for what is wrong with a message. */
const struct aws_error_rule queue_sqs_rules[] = {
    {"QueueDoesNotExist", ERR_AUTH, FIX_QUEUE},
    {"AWS.SimpleQueueService.NonExistentQueue", ERR_AUTH, FIX_QUEUE},
    {"QueueDeletedRecently", ERR_RETRY, "SQS allows the name again 60 seconds after the deletion"},
    {"ReceiptHandleIsInvalid", ERR_CONFLICT, "the lease has expired"},
    {"MessageNotInflight", ERR_CONFLICT, "the lease has expired"},
    {"OverLimit", ERR_THROTTLED,
     "the queue has 120,000 messages in flight: find the consumer that receives and does not "
     "delete"},
    {"KmsThrottled", ERR_THROTTLED,
     "KMS throttles the queue: raise its KmsDataKeyReusePeriodSeconds"},
    {"KmsAccessDenied", ERR_AUTH, FIX_KMS},
    {"KmsDisabled", ERR_AUTH, FIX_KMS},
    {"KmsInvalidState", ERR_AUTH, FIX_KMS},
    {"KmsInvalidKeyUsage", ERR_AUTH, FIX_KMS},
    {"KmsNotFound", ERR_AUTH, FIX_KMS},
    {"KmsOptInRequired", ERR_AUTH, FIX_KMS},
    {"BatchRequestTooLong", ERR_PERMANENT, "raise the queue's MaximumMessageSize"},
    {"InvalidMessageContents", ERR_PERMANENT, "the message holds characters that SQS rejects"},
    {"InvalidAddress", ERR_AUTH, "check the queue's URL"},
    {"InvalidSecurity", ERR_AUTH, FIX_ENDPOINT},
    {"UnsupportedOperation", ERR_AUTH, FIX_ENDPOINT},
    {"UnknownOperationException", ERR_AUTH, FIX_ENDPOINT},
    {"InvalidAction", ERR_AUTH, FIX_ENDPOINT},
    {"SerializationException", ERR_AUTH, FIX_ENDPOINT},
    {NULL, ERR_NONE, NULL},
};

/* --- entries of a batch --- */
static bool entry_index(const json_t *entry, size_t n, size_t *out)
{
    int64_t number;
    const char *id = json_string_value(json_object_get(entry, "Id"));
    if (id == NULL || !slice_to_int64(slice_of(id), &number) || number < 0 ||
        (uint64_t)number >= n) {
        return false;
    }
    *out = (size_t)number;
    return true;
}

static void copy_json_text(const json_t *entry, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(entry, name));
    (void)snprintf(out, size, "%s", text != NULL ? text : "");
}

void queue_sqs_failures(const json_t *response, size_t n, struct sqs_failure *out)
{
    size_t i;
    size_t at;
    json_t *entry;
    for (i = 0; i < n; i++) {
        out[i] = (struct sqs_failure){.failed = true, .code = "missing in the response"};
    }
    json_array_foreach(json_object_get(response, "Successful"), i, entry)
    {
        if (entry_index(entry, n, &at)) {
            out[at] = (struct sqs_failure){0};
        }
    }
    json_array_foreach(json_object_get(response, "Failed"), i, entry)
    {
        if (entry_index(entry, n, &at)) {
            out[at] = (struct sqs_failure){.failed = true,
                                           .sender_fault =
                                               json_is_true(json_object_get(entry, "SenderFault"))};
            copy_json_text(entry, "Code", out[at].code, sizeof out[at].code);
            copy_json_text(entry, "Message", out[at].message, sizeof out[at].message);
        }
    }
}

bool queue_sqs_is_stale(const char *code)
{
    /* SQS's messages for a handle that was valid once: "Value … for parameter ReceiptHandle is
     * invalid. Reason: Message does not exist or is not available for visibility timeout change",
     * or "… The receipt handle has expired". */
    return strcmp(code, "ReceiptHandleIsInvalid") == 0 || strcmp(code, "MessageNotInflight") == 0 ||
           strcmp(code, "AWS.SimpleQueueService.MessageNotInflight") == 0 ||
           strncmp(code, "InvalidParameterValue", 21) == 0;
}

enum err_class queue_sqs_failure_class(const struct sqs_failure *f)
{
    for (const struct aws_error_rule *r = queue_sqs_rules; r->name != NULL; r++) {
        if (strcmp(r->name, f->code) == 0) {
            return r->class;
        }
    }
    if (strstr(f->code, "Throttl") != NULL) {
        return ERR_THROTTLED;
    }
    if (strstr(f->code, "AccessDenied") != NULL) {
        return ERR_AUTH;
    }
    return f->sender_fault ? ERR_PERMANENT : ERR_RETRY;
}
