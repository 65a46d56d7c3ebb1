/*
 * Where a message goes that its lane does not take: a missing topic, or one without a leader, is
 * the lane's trouble, and must not hold up the messages of other lanes. The message waits in a delay
 * topic, for at most as long as lanes keep messages.
 *
 * A delayed message goes to the end of its lane when its time has come. What no lane could ever take
 * (a bad name, too large) is a dead letter then.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/queue/kafka/internal.h"

#define WAIT_AGAIN_MS 30000

bool kafka_is_lane(const char *lane)
{
    for (const char *c = lane; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr("._-", *c) == NULL) {
            return false;
        }
    }
    return lane[0] != '\0' && strcmp(lane, KAFKA_DEAD) != 0 && !kafka_is_delay(lane);
}

static bool is_the_records_fault(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
           code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE ||
           code == RD_KAFKA_RESP_ERR_INVALID_RECORD || code == RD_KAFKA_RESP_ERR__INVALID_ARG ||
           code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
}

static void make_dead_letter(struct kafka_record *r, const char *why, struct kafka_outgoing *out)
{
    (void)snprintf(r->reason, sizeof r->reason, "it was delayed, and then its lane \"%s\" %s",
                   r->lane, why);
    r->dead_ms = clock_wall_ms();
    *out = (struct kafka_outgoing){.lane = KAFKA_DEAD, .key = slice_of(r->id), .record = r};
    log_warn("kafka_delayed_message_dead_lettered", LOG_STR("message", r->id),
             LOG_STR("lane", r->lane), LOG_STR("reason", r->reason),
             LOG_STR("action", "read it with mayflyctl dlq show, then redrive or delete it"));
}

/* What a record's lane refused with this code goes elsewhere. */
static void set_aside(struct kafka_record *r, rd_kafka_resp_err_t code, struct kafka_outgoing *out)
{
    char why[160];
    if (is_the_records_fault(code)) {
        (void)snprintf(why, sizeof why, "did not take it: %s", rd_kafka_err2str(code));
        make_dead_letter(r, why, out);
    } else if (clock_wall_ms() - r->enqueued_ms > KAFKA_RETENTION_MS) {
        (void)snprintf(why, sizeof why, "took nothing for 30 days: %s", rd_kafka_err2str(code));
        make_dead_letter(r, why, out);
    } else {
        kafka_delay_outgoing(r, WAIT_AGAIN_MS, out);
    }
}

int kafka_put_due(struct queue_kafka *q, rd_kafka_message_t *const *due, size_t n, struct err *e)
{
    struct kafka_record records[KAFKA_DUE_MAX];
    struct kafka_outgoing out[KAFKA_DUE_MAX];
    struct kafka_outgoing aside[KAFKA_DUE_MAX];
    rd_kafka_resp_err_t codes[KAFKA_DUE_MAX];
    size_t refused = 0;
    for (size_t i = 0; i < n; i++) {
        kafka_record_read(due[i], &records[i]);
        if (kafka_is_lane(records[i].lane)) {
            kafka_delay_outgoing(&records[i], records[i].left_ms, &out[i]);
        } else {
            make_dead_letter(&records[i], "is not the name of one", &out[i]);
        }
    }
    if (kafka_produce_each(q, out, codes, n, e) == 0) {
        return 0;
    }
    log_warn("kafka_delayed_again", LOG_ERR(e),
             LOG_STR("action", "create the topic if it is missing; its delayed messages are tried "
                               "again every 30 s, those of other lanes are not held up"));
    for (size_t i = 0; i < n; i++) {
        if (codes[i] != RD_KAFKA_RESP_ERR_NO_ERROR) {
            set_aside(&records[i], codes[i], &aside[refused++]);
        }
    }
    return kafka_produce(q, aside, refused, e);
}

/* Whether Kafka responds, and only lanes do not take their messages. */
static bool is_the_lanes_fault(const struct kafka_outgoing *out, const rd_kafka_resp_err_t *codes,
                               size_t n)
{
    bool responds = false;
    for (size_t i = 0; i < n; i++) {
        bool taken = codes[i] == RD_KAFKA_RESP_ERR_NO_ERROR;
        if (!taken && (is_the_records_fault(codes[i]) || kafka_is_delay(out[i].lane))) {
            return false;
        }
        responds = responds || taken || codes[i] == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                   codes[i] == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
                   codes[i] == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
                   codes[i] == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    }
    return responds;
}

static size_t set_refused_aside(struct kafka_record *records, struct kafka_outgoing *out,
                                const rd_kafka_resp_err_t *codes, size_t n)
{
    size_t refused = 0;
    for (size_t i = 0; i < n; i++) {
        if (codes[i] != RD_KAFKA_RESP_ERR_NO_ERROR) {
            (void)snprintf(records[i].reason, sizeof records[i].reason, "its lane took nothing: %s",
                           rd_kafka_err2str(codes[i]));
            kafka_delay_outgoing(&records[i], WAIT_AGAIN_MS, &out[refused++]);
        }
    }
    return refused;
}

int kafka_put_fresh(struct queue_kafka *q, struct kafka_record *records, struct kafka_outgoing *out,
                    size_t n, struct err *e)
{
    rd_kafka_resp_err_t *codes = calloc(n, sizeof *codes);
    ASSERT(codes != NULL);
    int rc = kafka_produce_each(q, out, codes, n, e);
    if (rc != 0 && is_the_lanes_fault(out, codes, n)) {
        size_t refused = set_refused_aside(records, out, codes, n);
        log_warn("kafka_lane_refused", LOG_INT("count", (int64_t)refused), LOG_ERR(e),
                 LOG_STR("action", "these messages wait in a delay topic and are tried again every "
                                   "30 s, those of other lanes are not held up"));
        rc = kafka_produce(q, out, refused, e);
    }
    free(codes);
    return rc;
}
