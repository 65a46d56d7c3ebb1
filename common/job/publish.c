#include "common/job/publish.h"

#include <string.h>

static void set_key(struct job_message *m, int64_t job_id)
{
    m->key[0] = '\0';
    if (job_id != 0) {
        (void)slice_write_int64(m->key, job_id);
    }
}

static void set_group(struct job_message *m, const char *group)
{
    size_t len = strlen(group);
    ASSERT(len < sizeof m->group);
    memcpy(m->group, group, len + 1);
}

void job_message_of_event(const struct job_event *ev, int64_t format, struct job_message *out)
{
    memcpy(out->lane, EVENTS_LANE, sizeof EVENTS_LANE);
    set_group(out, ev->job.repository);
    set_key(out, ev->job.id);
    buf_init(&out->body, RECORD_MAX_BYTES);
    job_event_encode(ev, format, &out->body);
}

void job_message_of_launch(const struct launch_request *r, int64_t format, struct job_message *out)
{
    (void)launch_lane(r->class_name, out->lane);
    set_group(out, r->job.id != 0 ? r->job.repository : r->scope);
    set_key(out, r->job.id);
    buf_init(&out->body, RECORD_MAX_BYTES);
    launch_request_encode(r, format, &out->body);
}

void job_message_of_vm_recorded(const struct vm_recorded *r, int64_t format,
                                struct job_message *out)
{
    memcpy(out->lane, EVENTS_LANE, sizeof EVENTS_LANE);
    set_group(out, r->name);
    set_key(out, 0);
    buf_init(&out->body, RECORD_MAX_BYTES);
    vm_recorded_encode(r, format, &out->body);
}

void job_message_fini(struct job_message *m)
{
    buf_fini(&m->body);
}

struct queue_item job_message_item(const struct job_message *m)
{
    return (struct queue_item){
        .lane = m->lane, .body = buf_slice(&m->body), .key = m->key, .group = m->group};
}

void job_messages_of_delivery(const struct job_event *ev, bool launch, int64_t format,
                              struct job_messages *out)
{
    out->count = 0;
    if (launch) {
        struct launch_request request = launch_request_of(ev);
        job_message_of_launch(&request, format, &out->list[out->count++]);
    }
    job_message_of_event(ev, format, &out->list[out->count++]);
}

void job_messages_fini(struct job_messages *m)
{
    for (size_t i = 0; i < m->count; i++) {
        job_message_fini(&m->list[i]);
    }
    m->count = 0;
}

size_t job_messages_items(const struct job_messages *m, struct queue_item *out)
{
    for (size_t i = 0; i < m->count; i++) {
        out[i] = job_message_item(&m->list[i]);
    }
    return m->count;
}

int job_publish(struct queue *q, const struct job_message *m, struct err *e)
{
    struct queue_item item = job_message_item(m);
    return queue_put(q, &item, 1, e);
}

int job_publish_all(struct queue *q, const struct job_messages *m, struct err *e)
{
    struct queue_item items[JOB_DELIVERY_MESSAGES_MAX];
    size_t n = job_messages_items(m, items);
    return queue_put(q, items, n, e);
}
