#include "tests/unit/queue/scripted_sqs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *operation_of(const struct served_request *r)
{
    const char *target = served_header(r, "X-Amz-Target");
    const char *dot = strchr(target, '.');
    return dot != NULL ? dot + 1 : "";
}

/* All entries succeed; a queue's URL ends with its name. */
static void usual_answer(const char *operation, const struct served_request *r,
                         struct served_answer *a)
{
    json_t *asked = json_loadb(r->body.data, r->body.len, 0, NULL);
    size_t i;
    json_t *entry;
    if (strcmp(operation, "GetQueueUrl") == 0) {
        buf_printf(&a->body, "{\"QueueUrl\":\"https://sqs.test/1/%s\"}",
                   json_string_value(json_object_get(asked, "QueueName")));
    } else if (strstr(operation, "Batch") != NULL) {
        buf_append_cstr(&a->body, "{\"Successful\":[");
        json_array_foreach(json_object_get(asked, "Entries"), i, entry)
        {
            buf_printf(&a->body, "%s{\"Id\":\"%s\"}", i > 0 ? "," : "",
                       json_string_value(json_object_get(entry, "Id")));
        }
        buf_append_cstr(&a->body, "]}");
    } else {
        buf_append_cstr(&a->body, "{}");
    }
    json_decref(asked);
}

static void hold_receive(struct scripted_sqs *f)
{
    http_server_release(f->server);
    pthread_mutex_lock(&f->lock);
    f->held++;
    pthread_cond_broadcast(&f->changed);
    while (f->hold_receives) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    f->held--;
    pthread_mutex_unlock(&f->lock);
    http_server_regain(f->server);
}

static void answer(void *arg, const struct served_request *r, struct served_answer *a)
{
    struct scripted_sqs *f = arg;
    const char *operation = operation_of(r);
    a->status = 200;
    if (strcmp(operation, "ReceiveMessage") == 0 &&
        strstr(r->body.data, "\"WaitTimeSeconds\":0,") == NULL) {
        hold_receive(f);
    }
    for (size_t i = 0; f->script != NULL && f->script[i].operation != NULL; i++) {
        const struct scripted *now = &f->script[i];
        if (f->used[i] || strcmp(now->operation, operation) != 0) {
            continue;
        }
        f->used[i] = true;
        a->status = now->status;
        buf_append_cstr(&a->body, now->body);
        buf_append_cstr(&a->headers, now->headers != NULL ? now->headers : "");
        return;
    }
    usual_answer(operation, r, a);
}

int scripted_sqs_open(struct scripted_sqs *f, const char *rest, struct err *e)
{
    char url[600];
    const char *port = strrchr(http_server_url(f->server), ':');
    (void)snprintf(url, sizeof url,
                   "sqs://%s&region=eu-west-1&endpoint=http%%3A%%2F%%2F127.0.0.1%%3A%s", rest,
                   port + 1);
    return queue_open(url, &f->q, e);
}

int scripted_sqs_setup(void **state)
{
    struct scripted_sqs *f = calloc(1, sizeof *f);
    struct err e;
    assert_non_null(f);
    assert_int_equal(pthread_mutex_init(&f->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&f->changed, NULL), 0);
    (void)setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 1);
    f->server = http_server_start(answer, f);
    if (scripted_sqs_open(f, "m?poll_wait=5s", &e) != 0) {
        fail_msg("%s", e.message);
    }
    *state = f;
    return 0;
}

int scripted_sqs_teardown(void **state)
{
    struct scripted_sqs *f = *state;
    queue_close(f->q);
    http_server_stop(f->server);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

/* --- what was asked --- */
/* The n-th request of an operation, from 0; NULL if there were fewer. To be freed. */
json_t *asked(struct scripted_sqs *f, const char *operation, size_t n)
{
    size_t total = http_server_count(f->server, "");
    for (size_t i = 0; i < total; i++) {
        const struct served_request *r = http_server_request(f->server, i);
        if (strcmp(operation_of(r), operation) == 0 && n-- == 0) {
            return json_loadb(r->body.data, r->body.len, 0, NULL);
        }
    }
    return NULL;
}

size_t times_asked(struct scripted_sqs *f, const char *operation)
{
    size_t n = 0;
    for (json_t *o; (o = asked(f, operation, n)) != NULL; n++) {
        json_decref(o);
    }
    return n;
}

const char *text_of(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text != NULL ? text : "";
}

const char *attribute_of(const json_t *o, const char *name)
{
    return text_of(json_object_get(json_object_get(o, "MessageAttributes"), name), "StringValue");
}

struct queue_item items[ITEMS_MAX];
static char bodies[ITEMS_MAX][24];

void number_items(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(bodies[i], sizeof bodies[i], "%zu", i);
        items[i] = (struct queue_item){
            .lane = "events", .body = slice_of(bodies[i]), .key = "", .group = ""};
    }
}

struct queue_message must_take(struct scripted_sqs *f, int64_t lease_ms)
{
    struct queue_message m = {0};
    size_t got = 0;
    struct err e;
    MUST(queue_receive(f->q, "events", 1, lease_ms, 0, &m, &got, &e));
    assert_int_equal(got, 1);
    return m;
}
