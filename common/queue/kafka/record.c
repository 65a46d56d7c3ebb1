/*
 * A message as a Kafka record: the value is the body, the key is the repository, headers are the
 * rest. A header whose value is the default is left out.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/queue/kafka/internal.h"

#define GROUP_MAX_BYTES 256

static struct slice header(const rd_kafka_headers_t *all, const char *name)
{
    const void *value = NULL;
    size_t size = 0;
    if (all == NULL || rd_kafka_header_get_last(all, name, &value, &size) != 0 || value == NULL) {
        return (struct slice){"", 0};
    }
    return (struct slice){value, size};
}

/* Another program's text is shown on terminals too. */
static void read_text(const rd_kafka_headers_t *all, const char *name, char *out, size_t size)
{
    if (!slice_to_cstr(header(all, name), out, size)) {
        out[0] = '\0';
    }
    for (char *c = out; *c != '\0'; c++) {
        *c = iscntrl((unsigned char)*c) != 0 ? '?' : *c;
    }
}

/* No Mayfly puts a longer one, and another topic might not take it. */
static struct slice cut(const void *ptr, size_t len, size_t most)
{
    return (struct slice){ptr, len < most ? len : most};
}

static int64_t read_number(const rd_kafka_headers_t *all, const char *name)
{
    int64_t number = 0;
    return slice_to_int64(header(all, name), &number) && number > 0 ? number : 0;
}

void kafka_record_read(const rd_kafka_message_t *m, struct kafka_record *r)
{
    rd_kafka_headers_t *all = NULL;
    rd_kafka_timestamp_type_t type;
    if (rd_kafka_message_headers(m, &all) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        all = NULL;
    }
    *r = (struct kafka_record){0};
    read_text(all, "id", r->id, sizeof r->id);
    read_text(all, "lane", r->lane, sizeof r->lane);
    read_text(all, "key", r->key, sizeof r->key);
    read_text(all, "reason", r->reason, sizeof r->reason);
    r->attempts = read_number(all, "attempts");
    r->left_ms = read_number(all, "left_ms");
    r->dead_ms = read_number(all, "dead_ms");
    r->enqueued_ms = read_number(all, "enqueued_ms");
    if (r->enqueued_ms == 0) {
        int64_t stamp = rd_kafka_message_timestamp(m, &type);
        r->enqueued_ms = stamp > 0 ? stamp : clock_wall_ms();
    }
    if (r->id[0] == '\0') { /* not put by us */
        (void)snprintf(r->id, sizeof r->id, "%" PRId32 "-%" PRId64, m->partition, m->offset);
    }
    r->group = cut(m->key, m->key_len, GROUP_MAX_BYTES);
    r->body = cut(m->payload, m->len, QUEUE_BODY_MAX_BYTES + 1);
}

static void add_text(rd_kafka_headers_t *all, const char *name, const char *value)
{
    if (value[0] != '\0') {
        ASSERT(rd_kafka_header_add(all, name, -1, value, -1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
}

static void add_number(rd_kafka_headers_t *all, const char *name, int64_t value)
{
    char text[24];
    if (value != 0) {
        (void)snprintf(text, sizeof text, "%" PRId64, value);
        add_text(all, name, text);
    }
}

rd_kafka_headers_t *kafka_record_headers(const struct kafka_record *r)
{
    rd_kafka_headers_t *all = rd_kafka_headers_new(8);
    add_text(all, "id", r->id);
    add_text(all, "lane", r->lane);
    add_text(all, "key", r->key);
    add_text(all, "reason", r->reason);
    add_number(all, "attempts", r->attempts);
    add_number(all, "left_ms", r->left_ms);
    add_number(all, "dead_ms", r->dead_ms);
    add_number(all, "enqueued_ms", r->enqueued_ms);
    return all;
}

void kafka_copy(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text);
}

void kafka_record_message(const struct kafka_record *r, struct queue_message *m)
{
    *m = (struct queue_message){.attempts = r->attempts, .enqueued_ms = r->enqueued_ms};
    kafka_copy(m->id, sizeof m->id, r->id);
    kafka_copy(m->lane, sizeof m->lane, r->lane);
    kafka_copy(m->key, sizeof m->key, r->key);
    m->body = slice_dup(r->body);
    m->body_len = r->body.len;
}
