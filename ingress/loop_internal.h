/*
 * The inside of a loop, shared by loop.c, which runs it, and request.c, which handles one request.
 * Only the loop's own thread touches it, except `mailbox` and `drain_ms`.
 */
#ifndef MAYFLY_INGRESS_LOOP_INTERNAL_H
#define MAYFLY_INGRESS_LOOP_INTERNAL_H

#include <event2/event.h>
#include <pthread.h>
#include <sys/queue.h>
#include <time.h>

#include "common/base/buf.h"
#include "ingress/answer.h"
#include "ingress/conn.h"
#include "ingress/loop.h"
#include "ingress/request_head.h"

#define DATE_SIZE 32

/* A verified delivery that waits for its commit. It lives until the intake returns it, even if its
 * connection ends or it is answered at its deadline before. */
struct pending {
    struct delivery delivery;  /* first member: the mailbox holds deliveries */
    TAILQ_ENTRY(pending) link; /* in one of the loop's lists, oldest first, until answered */
    struct conn *conn;         /* NULL once it ended, or was answered */
    bool answered;
    bool launch; /* a job that waits for a runner: logged when it is accepted */
    int64_t job_id;
    char class_name[CLASS_NAME_SIZE];
    char repository[REPOSITORY_SIZE];
};

TAILQ_HEAD(pending_list, pending);

struct loop {
    struct loop_shared shared;
    struct event_base *base;
    int listen_fd; /* -1 once closed */
    struct event *accept_event;
    struct event *mailbox_event;
    struct event *tick_event;
    struct event *turn_event; /* activated to run at the end of this turn of the loop */
    struct buf text;          /* an answer's */
    char date[DATE_SIZE];     /* of RFC 9110, of the second */
    time_t date_s;
    struct conn_set conns;
    struct loop_bounds bounds;
    struct pending_list admission_queue; /* without a place in the intake yet */
    size_t admission_queue_length;
    struct pending_list waiting; /* in the intake */
    struct delivery *outgoing;   /* got their places in this turn */
    struct delivery **outgoing_last;
    size_t with_intake; /* deliveries that the intake has not returned */
    bool accepting;
    int64_t accept_ms;        /* monotonic: accept again then, after a failure */
    int64_t accept_logged_ms; /* monotonic: when such a failure was last logged; 0: never */
    bool draining;
    int64_t drain_until_ms;
    int64_t drain_ms; /* atomic: 0, or the time that the requested drain may take */
    struct mailbox mailbox;
    pthread_t thread;
};

/* The time, as a header says it. */
const char *loop_date(struct loop *l);

/* Verifies a request whose head is good and whose body is complete, and answers it now or later. */
void request_process(struct loop *l, struct conn *c, const struct request_head *h,
                     struct slice body);

/* The answer to a load balancer's question. */
struct answer request_health(const struct loop *l);

void request_log_refusal(const struct request_head *h, const struct answer *a);
void request_log_sender(const struct ip_address *client, const struct answer *a);
void request_log_unreadable(const struct http_request *r, const struct answer *a);

/* Gives free places to deliveries in the admission queue, and drops those whose connection has
 * ended. */
void request_admit_waiting(struct loop *l);

/* Submits the deliveries that got a place in this turn to the intake. */
void request_submit(struct loop *l);

/* Handles a delivery that the intake returned. */
void request_finish(struct loop *l, struct pending *p);

/* Answers deliveries past their deadline, in the admission queue or in the intake; the latter stay
 * in the intake. */
void request_expire(struct loop *l, int64_t now_us);

#endif
