/* Parameters of AWS's Systems Manager. Source: AWS's API reference, PutParameter. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/aws.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "deploy/ctl/app/app.h"

#define BODY_LIMIT_BYTES ((size_t)128 * 1024)
#define NAME_SIZE 512
#define TRIES 4
#define TRY_BASE_MS 200
#define TRY_CAP_MS 2000

static const struct {
    const char *name;
    const char *type;
} parts[APP_PARTS] = {[APP_ID] = {"app-id", "String"},
                      [APP_KEY] = {"app-key", "SecureString"},
                      [APP_WEBHOOK_SECRET] = {"webhook-secret", "SecureString"}};

static const struct aws_error_rule rules[] = {
    {"ParameterAlreadyExists", ERR_CONFLICT,
     "it exists, and is never replaced: give another --ssm, or delete it if no App needs it"},
    {"ParameterNotFound", ERR_NOT_FOUND, "it is gone already"},
    {"InvalidKeyId", ERR_AUTH, "allow the use of the KMS key alias/aws/ssm"},
    {"HierarchyLevelLimitExceededException", ERR_PERMANENT, "use a shorter --ssm"},
    {NULL, ERR_NONE, NULL}};

struct parameters {
    struct app_keep keep;
    struct aws_client *client;
    char names[APP_PARTS][NAME_SIZE];
    bool reserved[APP_PARTS]; /* it holds a placeholder */
};

static void wipe(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

/* Retries: the same value again does no harm, and a first write that was answered with nothing is
 * found again as one that exists. */
static int send(struct aws_client *client, const char *operation, const struct buf *body,
                struct err *e)
{
    struct http_response r;
    const struct aws_call call = {.operation = operation,
                                  .target = "AmazonSSM",
                                  .content_type = "application/x-amz-json-1.1",
                                  .body = buf_slice(body)};
    int rc = body->failed ? err_set(e, ERR_PERMANENT, 0, "%s: the value is too long", operation)
                          : aws_send(client, &call, &r, NULL, e);
    for (int i = 1; i < TRIES && rc != 0 && (e->class == ERR_RETRY || e->class == ERR_THROTTLED);
         i++) {
        clock_sleep_until(clock_mono_ms() + backoff_full_jitter_ms(TRY_BASE_MS, TRY_CAP_MS, i));
        rc = aws_send(client, &call, &r, NULL, e);
    }
    if (rc == 0) {
        http_response_fini(&r);
    }
    return rc;
}

static int put(struct parameters *p, int part, struct slice value, bool replace, struct err *e)
{
    struct buf body;
    buf_init(&body, BODY_LIMIT_BYTES);
    buf_append_cstr(&body, "{\"Name\":");
    buf_append_json(&body, slice_of(p->names[part]));
    buf_printf(&body, ",\"Type\":\"%s\",\"Overwrite\":%s,\"Value\":", parts[part].type,
               replace ? "true" : "false");
    buf_append_json(&body, value);
    buf_append_byte(&body, '}');
    int rc = send(p->client, "PutParameter", &body, e);
    wipe(&body);
    return rc == 0 ? 0 : err_wrap(e, "ssm:%s", p->names[part]);
}

static int store(struct app_keep *k, const struct slice values[APP_PARTS], struct err *e)
{
    struct parameters *p = (struct parameters *)k;
    for (int i = APP_PARTS - 1; i >= 0; i--) {
        if (put(p, i, values[i], true, e) != 0) {
            return -1;
        }
        p->reserved[i] = false;
    }
    return 0;
}

static void delete_placeholder(struct parameters *p, int part)
{
    struct err e = {0};
    struct buf body;
    buf_init(&body, BODY_LIMIT_BYTES);
    buf_append_cstr(&body, "{\"Name\":");
    buf_append_json(&body, slice_of(p->names[part]));
    buf_append_byte(&body, '}');
    if (send(p->client, "DeleteParameter", &body, &e) != 0 && e.class != ERR_NOT_FOUND) {
        fprintf(stderr, "mayflyctl: ssm:%s holds a placeholder: delete it (%s)\n", p->names[part],
                e.message);
    }
    buf_fini(&body);
}

static void close_parameters(struct app_keep *k)
{
    struct parameters *p = (struct parameters *)k;
    for (int i = 0; i < APP_PARTS; i++) {
        if (p->reserved[i]) {
            delete_placeholder(p, i);
        }
    }
    aws_client_close(p->client);
    free(p);
}

static const struct app_keep_ops ssm_ops = {.store = store, .close = close_parameters};

static int name_all(struct parameters *p, struct slice prefix, struct err *e)
{
    while (prefix.len > 1 && prefix.ptr[prefix.len - 1] == '/') {
        prefix.len--;
    }
    bool good = prefix.len > 1 && prefix.ptr[0] == '/';
    for (size_t i = 0; i < prefix.len; i++) {
        good = good && (isalnum((unsigned char)prefix.ptr[i]) || strchr("/-_.", prefix.ptr[i]));
    }
    for (int i = 0; i < APP_PARTS; i++) {
        int n = snprintf(p->names[i], NAME_SIZE, "%.*s/%s", SLICE_ARG(prefix), parts[i].name);
        good = good && n > 0 && n < NAME_SIZE;
        struct buf ref;
        buf_init(&ref, NAME_SIZE + 8);
        buf_printf(&ref, "ssm:%s", p->names[i]);
        p->keep.refs[i] = buf_take(&ref);
    }
    return good ? 0
                : err_set(e, ERR_PERMANENT, 0,
                          "--ssm must be a path of letters, digits and - _ . such as /mayfly");
}

/* A placeholder in each takes the name, and shows that this user may write there, and encrypt. */
int app_keep_in_ssm(const char *prefix, struct app_keep **out, struct err *e)
{
    const struct aws_client_options options = {.service = "ssm", .region = "", .rules = rules};
    struct parameters *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    p->keep.ops = &ssm_ops;
    int rc = name_all(p, slice_of(prefix), e);
    if (rc == 0) {
        rc = aws_client_open(&options, &p->client, e);
    }
    for (int i = 0; i < APP_PARTS && rc == 0; i++) {
        rc = put(p, i, SLICE("reserved by mayflyctl app create"), false, e);
        p->reserved[i] = rc == 0;
    }
    if (rc != 0) {
        app_keep_close(&p->keep);
        return -1;
    }
    *out = &p->keep;
    return 0;
}
