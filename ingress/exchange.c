#include "ingress/exchange.h"

#include "ingress/loop_internal.h"
#include "ingress/request_head.h"
#include "ingress/stats.h"

/* What is known of a request's head, while its bytes stay where they are. */
struct examined {
    bool is_known;
    struct request_head head;
    enum head_verdict verdict;
    struct answer refusal;
};

/* --- answers --- */

static void finish_answer(struct conn *c)
{
    c->served++;
    if (c->ends) {
        conn_set_state(c, CONN_LINGERING);
        conn_end_output(c);
    } else {
        conn_set_state(c, CONN_IDLE);
    }
    conn_resume(c);
}

static int64_t retry_after_seconds(const struct loop *l)
{
    const struct config *c = config_live_get(l->shared.live);
    int64_t ms = c->ingress.retry_after_ms;
    config_live_put(l->shared.live, c);
    return (ms + 999) / 1000;
}

void exchange_answer(struct conn *c, const struct answer *a)
{
    struct loop *l = c->set->owner;
    const struct http_request *r = &c->request;
    c->ends = a->close || !r->keeps_alive || l->draining;
    const struct answer_form form = {.is_head = c->is_head,
                                     .closes = c->ends,
                                     .keeps_alive_1_0 = r->is_1_0,
                                     .retry_after_s = a->code == 503 ? retry_after_seconds(l) : 0,
                                     .date = loop_date(l)};
    stats_answer(a->code, a->reason);
    buf_reset(&l->text);
    answer_write(a, &form, &l->text);
    conn_set_state(c, CONN_WRITING);
    if (conn_send(c, buf_slice(&l->text))) {
        finish_answer(c);
    }
}

static void refuse_for_memory(struct conn *c)
{
    exchange_answer(c, &(struct answer){503, "memory", true});
}

/* --- requests --- */

static bool is_reading(const struct conn *c)
{
    return c->state == CONN_IDLE || c->state == CONN_HEAD || c->state == CONN_BODY;
}

static void begin_request(struct conn *c)
{
    conn_set_state(c, CONN_HEAD);
    http_request_begin(&c->request);
    c->began_ms = c->since_ms;
    c->is_head = false;
}

static void examine(struct conn *c, struct examined *x)
{
    const struct loop *l = c->set->owner;
    c->is_head = slice_eq_cstr(c->request.method, "HEAD");
    request_head_read(c->request.headers, &x->head);
    x->verdict = request_head_judge(&c->request, &x->head, slice_of(l->shared.config->ingress.path),
                                    c->set->limits.http.body_bytes, &x->refusal);
    x->is_known = true;
}

/* Whatever needs no body is answered without it. */
static void answer_head(struct conn *c, const struct examined *x, bool closes)
{
    struct answer a = x->refusal;
    if (x->verdict == HEAD_ASKS_HEALTH) {
        a = request_health(c->set->owner);
    } else {
        request_log_refusal(&x->head, &a);
    }
    a.close = closes;
    exchange_answer(c, &a);
}

/* Whether its sender may send; else the answer. */
static bool admits_sender(struct conn *c, const struct request_head *h, struct answer *refusal)
{
    const struct loop *l = c->set->owner;
    struct ip_address client;
    enum forwarded_client whose =
        peers_client(l->shared.peers, &c->peer, &h->forwarded, &h->x_forwarded_for, &client);
    enum peers_verdict verdict = peers_admit(l->shared.peers, &client);
    if (verdict != PEERS_ADMITTED) {
        bool is_refused = verdict == PEERS_REFUSED;
        *refusal = is_refused ? (struct answer){403, "address", true}
                              : (struct answer){503, "hook_ranges_unknown", true};
        request_log_sender(&client, refusal);
        return false;
    }
    if (whose == FORWARDED_NAMED && !conn_join_client(c, &client)) {
        *refusal = (struct answer){503, "client_share", true};
        return false;
    }
    return true;
}

static void take_head(struct conn *c, struct examined *x)
{
    examine(c, x);
    bool is_webhook = x->verdict == HEAD_IS_WEBHOOK;
    bool has_body = c->request.is_chunked || c->request.length > 0;
    if (!is_webhook && has_body) {
        answer_head(c, x, true);
    } else if (is_webhook && !admits_sender(c, &x->head, &x->refusal)) {
        exchange_answer(c, &x->refusal);
    } else {
        conn_set_state(c, CONN_BODY);
    }
}

static void take_whole(struct conn *c, struct examined *x)
{
    if (!x->is_known) {
        examine(c, x);
    }
    x->is_known = false;
    if (x->verdict != HEAD_IS_WEBHOOK) {
        answer_head(c, x, false);
    } else {
        conn_set_state(c, CONN_PROCESSING);
        request_process(c->set->owner, c, &x->head, c->request.body);
    }
}

static void take_refused(struct conn *c)
{
    struct answer a = request_head_refusal(&c->request);
    request_log_unreadable(&c->request, &a);
    exchange_answer(c, &a);
}

static void keep_rest(struct conn *c, struct slice rest)
{
    if (c->state == CONN_CLOSED) {
        return;
    }
    bool is_dropped = c->state == CONN_LINGERING || (c->state == CONN_WRITING && c->ends);
    bool is_whole = c->state != CONN_HEAD && c->state != CONN_BODY;
    bool has_place = !is_whole || conn_leave_client(c);
    if (has_place && conn_keep(c, is_dropped ? (struct slice){.len = 0} : rest)) {
        return;
    }
    if (is_reading(c)) {
        refuse_for_memory(c);
    } else {
        conn_close(c, "memory");
    }
}

/* A client that asks before it sends a body waits for this. */
static void invite_body(struct conn *c)
{
    if (c->state == CONN_BODY && c->request.waits_for_body) {
        c->request.waits_for_body = false;
        (void)conn_send(c, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    }
}

/* Takes the requests in these bytes. */
static void take(struct conn *c, char *data, size_t len)
{
    struct examined x = {.is_known = false};
    size_t used = 0;
    while (used < len && is_reading(c)) {
        size_t left = len - used;
        if (c->state == CONN_IDLE) {
            begin_request(c);
        }
        enum http_read read =
            http_request_read(&c->request, &c->set->limits.http, data + used, &left);
        len = used + left;
        if (read == HTTP_READ_MORE) {
            break;
        }
        if (read == HTTP_READ_HEAD) {
            take_head(c, &x);
        } else if (read == HTTP_READ_WHOLE) {
            used += c->request.used;
            take_whole(c, &x);
        } else {
            take_refused(c);
        }
    }
    keep_rest(c, (struct slice){data + used, len - used});
    invite_body(c);
}

void exchange_go_on(struct conn *c)
{
    if (c->state == CONN_IDLE && c->in.len > 0) {
        take(c, c->in.data, c->in.len);
    }
}

/* --- the handler --- */

static void read_kept(struct conn *c)
{
    if (!conn_make_room(c)) {
        refuse_for_memory(c);
        keep_rest(c, (struct slice){.len = 0});
        return;
    }
    size_t n = conn_recv(c, c->in.data + c->in.len, c->in.cap - c->in.len);
    if (n > 0) {
        c->in.len += n;
        take(c, c->in.data, c->in.len);
    }
}

static void on_input(struct conn *c)
{
    /* The first bytes over TLS are a handshake's, with the deadline of a head. */
    if (c->state == CONN_IDLE && c->ssl != NULL) {
        begin_request(c);
    }
    if (c->in.len > 0) {
        read_kept(c);
        return;
    }
    size_t n = conn_recv(c, c->set->space, CONN_SPACE_BYTES);
    if (n > 0) {
        take(c, c->set->space, n);
    } else if (c->state == CONN_HEAD && !conn_in_handshake(c)) {
        conn_set_state(c, CONN_IDLE);
    }
}

static void on_answered(struct conn *c)
{
    finish_answer(c);
    exchange_go_on(c);
}

const struct conn_handler exchange_handler = {on_input, on_answered};
