/*
 * Where a delayed message goes when its time has come: to the end of its lane.
 *
 * One that its lane does not take must not hold up the others that are due. A missing topic, or one
 * without a leader, is the lane's trouble: the message waits again, for at most as long as lanes
 * keep messages. What no lane could ever take (a bad name, too large) is a dead letter.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/queue/kafka/internal.h"

#define WAIT_AGAIN_MS 30000

/* Another program's record can name any lane. */
static bool is_lane(const char *lane)
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
        if (is_lane(records[i].lane)) {
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
