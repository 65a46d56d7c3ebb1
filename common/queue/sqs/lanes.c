/*
 * The queue on SQS: the queues of its lanes, looked up by name once, and created with create=1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/queue/sqs/internal.h"

#define PAGES_MAX 1000 /* of 1000 queues each; guards against an endless list */

struct sqs_lane *queue_sqs_lane(struct queue_sqs *q, const char *lane)
{
    pthread_mutex_lock(&q->lock);
    struct sqs_lane *l = q->lanes;
    while (l != NULL && strcmp(l->lane, lane) != 0) {
        l = l->next;
    }
    if (l == NULL) {
        l = calloc(1, sizeof *l);
        ASSERT(l != NULL && slice_to_cstr(slice_of(lane), l->lane, sizeof l->lane));
        l->next = q->lanes;
        q->lanes = l;
    }
    pthread_mutex_unlock(&q->lock);
    return l;
}

/* --- one queue --- */
static int read_queue_url(const json_t *r, const char *operation, struct sqs_target *out,
                          struct err *e)
{
    const char *url = json_string_value(json_object_get(r, "QueueUrl"));
    if (url == NULL || !slice_to_cstr(slice_of(url), out->url, sizeof out->url)) {
        return err_set(e, ERR_RETRY, 0, "queue %s: %s: the response has no QueueUrl", out->name,
                       operation);
    }
    return 0;
}

static int get_queue_url(struct queue_sqs *q, struct sqs_target *out, bool *there, struct err *e)
{
    json_t *reply = NULL;
    struct aws_refusal refusal = {0};
    struct buf body;
    buf_init(&body, 1024);
    buf_append_cstr(&body, "{\"QueueName\":");
    buf_append_json(&body, slice_of(out->name));
    if (q->config.account[0] != '\0') {
        buf_printf(&body, ",\"QueueOwnerAWSAccountId\":\"%s\"", q->config.account);
    }
    buf_append_byte(&body, '}');
    const struct sqs_call call = {
        .operation = "GetQueueUrl", .target = out, .body = buf_slice(&body)};
    int rc = queue_sqs_send(q, &call, &reply, &refusal, e);
    if (rc == 0) {
        *there = true;
        rc = read_queue_url(reply, call.operation, out, e);
    } else if (strcmp(refusal.name, "QueueDoesNotExist") == 0 ||
               strcmp(refusal.name, "AWS.SimpleQueueService.NonExistentQueue") == 0) {
        *there = false;
        rc = 0;
    }
    json_decref(reply);
    aws_refusal_fini(&refusal);
    buf_fini(&body);
    return rc;
}

/* Retention is 14 days, the maximum, so that SQS deletes no waiting job and no dead letter early.
 * */
static int create_queue(struct queue_sqs *q, struct sqs_target *out, struct err *e)
{
    json_t *reply = NULL;
    struct buf body;
    buf_init(&body, 1024);
    buf_append_cstr(&body, "{\"QueueName\":");
    buf_append_json(&body, slice_of(out->name));
    buf_append_cstr(&body, ",\"Attributes\":{\"MessageRetentionPeriod\":\"1209600\"}}");
    const struct sqs_call call = {
        .operation = "CreateQueue", .target = out, .body = buf_slice(&body)};
    int rc = queue_sqs_send(q, &call, &reply, NULL, e);
    if (rc == 0) {
        rc = read_queue_url(reply, call.operation, out, e);
    }
    json_decref(reply);
    buf_fini(&body);
    return rc;
}

static bool load_cached_url(struct queue_sqs *q, const struct sqs_lane *l, bool dead,
                            struct sqs_target *out)
{
    pthread_mutex_lock(&q->lock);
    memcpy(out->url, l->url[dead], sizeof out->url);
    pthread_mutex_unlock(&q->lock);
    return out->url[0] != '\0';
}

static void cache_url(struct queue_sqs *q, struct sqs_lane *l, bool dead,
                      const struct sqs_target *t)
{
    pthread_mutex_lock(&q->lock);
    memcpy(l->url[dead], t->url, sizeof t->url);
    pthread_mutex_unlock(&q->lock);
}

bool queue_sqs_takes_groups(struct queue_sqs *q, const struct sqs_target *t)
{
    pthread_mutex_lock(&q->lock);
    bool takes = !t->lane->no_groups[t->dead];
    pthread_mutex_unlock(&q->lock);
    return takes;
}

bool queue_sqs_drops_groups(struct queue_sqs *q, const struct sqs_target *t, const struct err *e)
{
    if (e->class != ERR_PERMANENT || strstr(e->message, "MessageGroupId") == NULL ||
        !queue_sqs_takes_groups(q, t)) {
        return false;
    }
    pthread_mutex_lock(&q->lock);
    t->lane->no_groups[t->dead] = true;
    pthread_mutex_unlock(&q->lock);
    return true;
}

static int resolve_queue(struct queue_sqs *q, const char *lane, bool dead, bool make,
                         struct sqs_target *out, bool *there, struct err *e)
{
    char where[SQS_ADDRESS_SIZE];
    if (sqs_url_queue(&q->config, lane, dead, where, e) != 0) {
        return -1;
    }
    struct sqs_lane *l = queue_sqs_lane(q, lane);
    ASSERT(slice_to_cstr(slice_of(sqs_name_of(where)), out->name, sizeof out->name));
    out->lane = l;
    out->dead = dead;
    *there = true;
    if (load_cached_url(q, l, dead, out)) {
        return 0;
    }
    if (sqs_is_address(where)) {
        memcpy(out->url, where, sizeof where);
        return 0;
    }
    if (get_queue_url(q, out, there, e) != 0) {
        return -1;
    }
    if (!*there && make) {
        if (create_queue(q, out, e) != 0) {
            return -1;
        }
        *there = true;
    }
    if (*there) {
        cache_url(q, l, dead, out);
    }
    return 0;
}

int queue_sqs_find_target(struct queue_sqs *q, const char *lane, bool dead, struct sqs_target *out,
                          bool *there, struct err *e)
{
    return resolve_queue(q, lane, dead, false, out, there, e);
}

int queue_sqs_target(struct queue_sqs *q, const char *lane, bool dead, struct sqs_target *out,
                     struct err *e)
{
    bool there;
    if (resolve_queue(q, lane, dead, q->config.create, out, &there, e) != 0) {
        return -1;
    }
    if (!there) {
        return err_set(
            e, ERR_AUTH, 0,
            "queue %s of lane %s%s does not exist in %s: create it (deploy/docs/sqs.md), check the "
            "URL's prefix and region, or add create=1 to the URL",
            out->name, lane, dead ? " (for its dead letters)" : "", aws_client_region(q->client));
    }
    return 0;
}

/* --- all lanes --- */
static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void add_lane_name(struct sqs_lanes *l, const char *lane)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->names[i], lane) == 0) {
            return;
        }
    }
    l->names = realloc(l->names, (l->count + 1) * sizeof *l->names);
    ASSERT(l->names != NULL);
    ASSERT(slice_to_cstr(slice_of(lane), l->names[l->count], sizeof *l->names));
    l->count++;
}

/* Returns the next page's token, owned; NULL at the end. */
static char *read_queue_page(struct queue_sqs *q, const json_t *page, struct sqs_lanes *out)
{
    size_t i;
    json_t *url;
    char lane[QUEUE_LANE_MAX + 1];
    json_array_foreach(json_object_get(page, "QueueUrls"), i, url)
    {
        if (json_is_string(url) &&
            sqs_url_lane(&q->config, sqs_name_of(json_string_value(url)), lane)) {
            add_lane_name(out, lane);
        }
    }
    const char *next = json_string_value(json_object_get(page, "NextToken"));
    return next != NULL && next[0] != '\0' ? slice_dup(slice_of(next)) : NULL;
}

static int list_queue_page(struct queue_sqs *q, char **token, struct sqs_lanes *out, struct err *e)
{
    json_t *reply;
    struct buf body;
    buf_init(&body, 16 * 1024);
    buf_printf(&body, "{\"QueueNamePrefix\":\"%s-\",\"MaxResults\":1000", q->config.prefix);
    if (*token != NULL) {
        buf_append_cstr(&body, ",\"NextToken\":");
        buf_append_json(&body, slice_of(*token));
    }
    buf_append_byte(&body, '}');
    const struct sqs_call call = {.operation = "ListQueues", .body = buf_slice(&body)};
    int rc = queue_sqs_send(q, &call, &reply, NULL, e);
    buf_fini(&body);
    free(*token);
    *token = NULL;
    if (rc != 0) {
        return err_wrap(e, "listing the queues %s-…", q->config.prefix);
    }
    *token = read_queue_page(q, reply, out);
    json_decref(reply);
    return 0;
}

int queue_sqs_list(struct queue_sqs *q, struct sqs_lanes *out, struct err *e)
{
    struct sqs_lanes found = {0};
    char *token = NULL;
    int rc = 0;
    for (size_t i = 0; i < q->config.named_count; i++) {
        add_lane_name(&found, q->config.named[i].lane);
    }
    if (q->config.prefix[0] != '\0') {
        int pages = 0;
        do {
            rc = list_queue_page(q, &token, &found, e);
        } while (rc == 0 && token != NULL && ++pages < PAGES_MAX);
        free(token);
    }
    if (rc != 0) {
        queue_sqs_lanes_fini(&found);
        return -1;
    }
    if (found.count > 1) {
        qsort(found.names, found.count, sizeof *found.names, compare_names);
    }
    *out = found;
    return 0;
}

void queue_sqs_lanes_fini(struct sqs_lanes *l)
{
    free(l->names);
    *l = (struct sqs_lanes){0};
}
