#include "common/vm/lambda/output.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/aws/aws.h"
#include "common/base/clock.h"

#define TEXT_MAX ((size_t)4 << 20) /* a response has at most 1 MiB of lines */

struct lambda_output {
    struct aws_client *service;
    char *log_group;
    _Atomic int64_t paused_until_ms; /* monotonic */
};

static const struct aws_error_rule rules[] = {
    {"ResourceNotFoundException", ERR_NOT_FOUND, "the VM wrote nothing that has arrived yet"},
    {"AccessDeniedException", ERR_AUTH, "allow logs:GetLogEvents on that log group"},
    {NULL, ERR_NONE, NULL}};

int lambda_output_open(const char *log_group, const char *region, const char *role_arn,
                       struct lambda_output **out, struct err *e)
{
    struct aws_client *service = NULL;
    const struct aws_client_options options = {.service = "logs",
                                               .region = region,
                                               .role_arn = role_arn,
                                               .timeout_ms = LAMBDA_OUTPUT_TIMEOUT_MS,
                                               .max_idle = 1,
                                               .rules = rules};
    if (log_group[0] == '\0') {
        *out = NULL;
        return 0;
    }
    if (aws_client_open(&options, &service, e) != 0) {
        return -1;
    }
    struct lambda_output *o = calloc(1, sizeof *o);
    ASSERT(o != NULL);
    o->service = service;
    o->log_group = slice_dup(slice_of(log_group));
    *out = o;
    return 0;
}

void lambda_output_close(struct lambda_output *o)
{
    if (o != NULL) {
        aws_client_close(o->service);
        free(o->log_group);
        free(o);
    }
}

/* The lines in their order; what a line is, is the service's. */
static void append_events(const json_t *events, struct buf *text)
{
    size_t i;
    const json_t *event;
    json_array_foreach(events, i, event)
    {
        const json_t *message = json_object_get(event, "message");
        struct slice line =
            slice_trim((struct slice){json_string_value(message), json_string_length(message)});
        buf_append(text, line);
        buf_append_byte(text, '\n');
    }
}

static int read_events(const struct http_response *r, size_t limit, struct buf *out, struct err *e)
{
    struct buf text;
    json_t *root = json_loadb(r->body.data, r->body.len, 0, NULL);
    const json_t *events = json_object_get(root, "events");
    int rc = 0;
    buf_init(&text, TEXT_MAX);
    append_events(events, &text);
    if (!json_is_array(events)) {
        rc = err_set(e, ERR_RETRY, 200, "GetLogEvents: invalid response");
    } else if (text.len == 0) {
        rc = err_set(e, ERR_NOT_FOUND, 0, "it is empty so far");
    } else {
        size_t skip = text.len > limit ? text.len - limit : 0;
        buf_append(out, (struct slice){text.data + skip, text.len - skip});
    }
    buf_fini(&text);
    json_decref(root);
    return rc;
}

static char *body_of(const struct lambda_output *o, const char *name)
{
    json_t *body = json_pack("{s:s, s:s, s:i, s:b}", "logGroupName", o->log_group, "logStreamName",
                             name, "limit", LAMBDA_OUTPUT_EVENTS, "startFromHead", 0);
    char *text = json_dumps(body, JSON_COMPACT);
    ASSERT(text != NULL);
    json_decref(body);
    return text;
}

static int get_events(struct lambda_output *o, const char *name, size_t limit, struct buf *out,
                      struct err *e)
{
    struct http_response answer;
    char *body = body_of(o, name);
    const struct aws_call call = {.operation = "GetLogEvents",
                                  .target = "Logs_20140328",
                                  .content_type = "application/x-amz-json-1.1",
                                  .body = slice_of(body)};
    int rc = aws_send(o->service, &call, &answer, NULL, e);
    free(body);
    if (rc == 0) {
        rc = read_events(&answer, limit, out, e);
        http_response_fini(&answer);
    }
    if (rc != 0 && e->class != ERR_NOT_FOUND) {
        atomic_store(&o->paused_until_ms, clock_mono_ms() + LAMBDA_OUTPUT_PAUSE_MS);
    }
    return rc;
}

int lambda_output_read(struct lambda_output *o, const char *name, size_t limit, struct buf *out,
                       struct err *e)
{
    if (o == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0,
                       "a MicroVM's output is stored only with lambda.log_group and "
                       "lambda.execution_role");
    }
    bool paused = clock_mono_ms() < atomic_load(&o->paused_until_ms);
    int rc = paused ? err_set(e, ERR_RETRY, HTTP_NOT_SENT,
                              "a call for another VM failed less than a minute ago")
                    : get_events(o, name, limit, out, e);
    return rc == 0 ? 0 : err_wrap(e, "log group %s, stream %s", o->log_group, name);
}
