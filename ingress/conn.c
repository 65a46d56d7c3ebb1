#include "ingress/conn.h"

#include <malloc.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "ingress/stats.h"

/* A head or body that is younger stays, so that a request in good faith is not the victim of those
 * that come with it. */
#define YOUNG_MS 200
#define IDLE_YOUNG_MS 1000
/* For a head, when places or memory run out. */
#define HEAD_PRESSED_MS 1000
#define LINGER_MS 2000
/* The first buffer of an incomplete request. */
#define KEEP_MIN_BYTES ((size_t)4096)
/* Of a list that is searched for one peer's. */
#define SEARCH_MAX 256
/* Of answers; each is some hundred bytes. */
#define OUT_MAX_BYTES ((size_t)64 * 1024)
/* So much was held, or so many were open, before memory is given back: once it is a sixteenth. */
#define TRIM_BYTES ((size_t)4 * 1024 * 1024)
#define TRIM_COUNT 128

/* edges[from] holds a bit for each state that may follow. */
#define TO(state) (1U << (state))
static const unsigned edges[CONN_STATES] = {
    [CONN_IDLE] = TO(CONN_HEAD) | TO(CONN_CLOSED),
    [CONN_HEAD] = TO(CONN_IDLE) | TO(CONN_BODY) | TO(CONN_WRITING) | TO(CONN_CLOSED),
    [CONN_BODY] = TO(CONN_PROCESSING) | TO(CONN_WRITING) | TO(CONN_CLOSED),
    [CONN_PROCESSING] = TO(CONN_WRITING) | TO(CONN_CLOSED),
    [CONN_WRITING] = TO(CONN_IDLE) | TO(CONN_LINGERING) | TO(CONN_CLOSED),
    [CONN_LINGERING] = TO(CONN_CLOSED),
    [CONN_CLOSED] = 0,
};

void conn_set_init(struct conn_set *set, struct event_base *base, struct event *turn,
                   const struct conn_limits *limits, struct shares *shares,
                   const struct conn_handler *handler, void *owner)
{
    *set = (struct conn_set){.base = base,
                             .turn = turn,
                             .limits = *limits,
                             .shares = shares,
                             .handler = handler,
                             .owner = owner};
    TAILQ_INIT(&set->idle_proxies);
    for (size_t i = 0; i < CONN_STATES; i++) {
        TAILQ_INIT(&set->in_state[i]);
    }
    set->space = malloc(CONN_SPACE_BYTES);
    ASSERT(set->space != NULL);
}

void conn_set_fini(struct conn_set *set)
{
    conn_reap(set);
    ASSERT(set->count == 0 && set->held == 0);
    free(set->space);
    set->space = NULL;
}

/* --- states --- */

static struct conn_list *list_of(struct conn *c)
{
    bool is_apart = c->state == CONN_IDLE && c->is_proxy;
    return is_apart ? &c->set->idle_proxies : &c->set->in_state[c->state];
}

void conn_set_state(struct conn *c, enum conn_state next)
{
    ASSERT((edges[c->state] & TO(next)) != 0);
    TAILQ_REMOVE(list_of(c), c, link);
    c->state = next;
    c->since_ms = clock_mono_ms();
    TAILQ_INSERT_TAIL(list_of(c), c, link);
}

/* Sets the capacity of c->in, which is reserved already if it is more; what it held beyond is lost. */
static void set_capacity(struct conn *c, size_t cap)
{
    struct conn_set *set = c->set;
    if (cap < c->in.cap) {
        shares_release(set->shares, c->account, c->in.cap - cap);
    }
    if (cap == 0) {
        free(c->in.data);
        c->in.data = NULL;
    } else {
        char *data = realloc(c->in.data, cap);
        ASSERT(data != NULL);
        c->in.data = data;
    }
    set->held = set->held - c->in.cap + cap;
    set->held_peak = set->held > set->held_peak ? set->held : set->held_peak;
    c->in.cap = cap;
    c->in.len = c->in.len < cap ? c->in.len : cap;
}

static void leave_shares(struct conn *c)
{
    if (c->client != NULL) {
        shares_leave(c->client);
    }
    if (c->share != NULL) {
        shares_leave(c->share);
    }
    c->client = NULL;
    c->share = NULL;
    c->account = NULL;
}

void conn_close(struct conn *c, const char *why)
{
    if (why != NULL) {
        stats_closed(why);
    }
    conn_io_close(c);
    set_capacity(c, 0);
    leave_shares(c);
    buf_fini(&c->out);
    if (c->watcher != NULL) {
        *c->watcher = NULL;
        c->watcher = NULL;
    }
    conn_set_state(c, CONN_CLOSED);
    c->set->count--;
    c->set->proxies -= c->is_proxy ? 1 : 0;
    stats_connections(-1);
    /* The loop may accept again, or is drained. */
    event_active(c->set->turn, 0, 0);
}

void conn_reap(struct conn_set *set)
{
    struct conn *c;
    while ((c = TAILQ_FIRST(&set->in_state[CONN_CLOSED])) != NULL) {
        TAILQ_REMOVE(&set->in_state[CONN_CLOSED], c, link);
        free(c);
    }
}

/* --- deadlines --- */

static void expire_list(struct conn_list *list, int64_t before_ms, const char *why)
{
    struct conn *c;
    while ((c = TAILQ_FIRST(list)) != NULL && c->since_ms <= before_ms) {
        conn_close(c, why);
    }
}

/* Their deadline is the request's, which began before this state did. */
static void expire_bodies(struct conn_set *set, int64_t before_ms)
{
    struct conn *next;
    for (struct conn *c = TAILQ_FIRST(&set->in_state[CONN_BODY]); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->began_ms <= before_ms) {
            conn_close(c, "deadline");
        }
    }
}

/* Three quarters of the places or of the memory are taken. */
static bool is_under_pressure(const struct conn_set *set)
{
    return set->count >= set->limits.connections - set->limits.connections / 4 ||
           shares_bytes(set->shares) >= set->limits.held_bytes - set->limits.held_bytes / 4;
}

void conn_expire(struct conn_set *set, int64_t now_ms)
{
    int64_t head_ms = set->limits.head_timeout_ms;
    if (head_ms > HEAD_PRESSED_MS && is_under_pressure(set)) {
        head_ms = HEAD_PRESSED_MS;
    }
    expire_list(&set->in_state[CONN_HEAD], now_ms - head_ms, "deadline");
    expire_bodies(set, now_ms - set->limits.request_timeout_ms);
    expire_list(&set->in_state[CONN_WRITING], now_ms - set->limits.request_timeout_ms, "deadline");
    expire_list(&set->in_state[CONN_IDLE], now_ms - set->limits.idle_timeout_ms, "idle");
    expire_list(&set->idle_proxies, now_ms - set->limits.idle_timeout_ms, "idle");
    expire_list(&set->in_state[CONN_LINGERING], now_ms - LINGER_MS, "lingering");
}

/* --- who gives way --- */

/* Whether the kernel holds bytes that the loop has not read yet. */
static bool has_unread(const struct conn *c)
{
    int unread = 0;
    return ioctl(c->fd, FIONREAD, &unread) == 0 && unread > 0;
}

static void close_idle(struct conn_list *list, int64_t now_ms, int64_t grace_ms)
{
    struct conn *next;
    for (struct conn *c = TAILQ_FIRST(list); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        bool is_fresh = c->served == 0 && now_ms - c->since_ms < grace_ms;
        if (!is_fresh && !has_unread(c)) {
            conn_close(c, "drain");
        }
    }
}

void conn_close_idle(struct conn_set *set, int64_t now_ms, int64_t grace_ms)
{
    close_idle(&set->in_state[CONN_IDLE], now_ms, grace_ms);
    close_idle(&set->idle_proxies, now_ms, grace_ms);
}

/* The oldest in the list that came before, of this peer (NULL: of any). A head whose next bytes are
 * there is not the victim. */
static struct conn *find_oldest(struct conn_list *list, int64_t before_ms, const struct share *of)
{
    struct conn *c = TAILQ_FIRST(list);
    for (size_t n = 0; c != NULL && c->since_ms <= before_ms && n < SEARCH_MAX; n++) {
        bool is_read_next = (c->state == CONN_IDLE || c->state == CONN_HEAD) && has_unread(c);
        if ((of == NULL || c->share == of) && !is_read_next) {
            return c;
        }
        c = TAILQ_NEXT(c, link);
    }
    return NULL;
}

static bool evict(struct conn_set *set, int64_t now_ms, const struct share *of)
{
    const struct {
        struct conn_list *list;
        int64_t young_ms;
        const char *why;
    } order[] = {
        {&set->in_state[CONN_LINGERING], 0, "lingering"},
        {&set->in_state[CONN_HEAD], YOUNG_MS, "evicted_head"},
        {&set->in_state[CONN_BODY], YOUNG_MS, "evicted_body"},
        {&set->in_state[CONN_IDLE], IDLE_YOUNG_MS, "evicted_idle"},
        {&set->idle_proxies, IDLE_YOUNG_MS, "evicted_idle_proxy"},
    };
    bool proxies_too = set->proxies > set->limits.connections / 2;
    for (size_t i = 0; i < COUNT_OF(order) - (proxies_too ? 0 : 1); i++) {
        struct conn *c = find_oldest(order[i].list, now_ms - order[i].young_ms, of);
        if (c != NULL) {
            conn_close(c, order[i].why);
            return true;
        }
    }
    return false;
}

bool conn_evict(struct conn_set *set, int64_t now_ms)
{
    return evict(set, now_ms, NULL);
}

void conn_close_all(struct conn_set *set)
{
    for (size_t i = 0; i < CONN_CLOSED; i++) {
        while (!TAILQ_EMPTY(&set->in_state[i])) {
            conn_close(TAILQ_FIRST(&set->in_state[i]), "drain");
        }
    }
    while (!TAILQ_EMPTY(&set->idle_proxies)) {
        conn_close(TAILQ_FIRST(&set->idle_proxies), "drain");
    }
}

/* --- a new one --- */

/* A peer opens connections so fast that all it may have are young. The oldest that has sent nothing
 * more gives way, so that a request that comes at once passes however many come with it. */
static bool evict_young(struct conn_set *set, const struct share *of)
{
    struct conn_list *lists[] = {&set->in_state[CONN_HEAD], &set->in_state[CONN_IDLE]};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct conn *c = find_oldest(lists[i], INT64_MAX, of);
        if (c != NULL) {
            conn_close(c, "peer_connections");
            return true;
        }
    }
    return false;
}

/* A place for one more of the peer; NULL: it has its share, and each of them does something. */
static struct share *join(struct conn_set *set, const struct ip_address *peer)
{
    struct share *share = shares_join(set->shares, peer);
    if (share == NULL) {
        const struct share *full = shares_find(set->shares, peer);
        if (full != NULL && (evict(set, clock_mono_ms(), full) || evict_young(set, full))) {
            share = shares_join(set->shares, peer);
        }
    }
    return share;
}

void conn_new(struct conn_set *set, int fd, SSL *ssl, const struct ip_address *peer, bool is_proxy)
{
    struct share *share = is_proxy ? NULL : join(set, peer);
    if (!is_proxy && share == NULL) {
        stats_closed("peer_connections");
        SSL_free(ssl);
        (void)close(fd);
        return;
    }
    struct conn *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    *c = (struct conn){.set = set,
                       .fd = fd,
                       .ssl = ssl,
                       .peer = *peer,
                       .is_proxy = is_proxy,
                       .share = share,
                       .account = share,
                       .since_ms = clock_mono_ms()};
    buf_init(&c->out, OUT_MAX_BYTES);
    TAILQ_INSERT_TAIL(list_of(c), c, link);
    set->count++;
    set->count_peak = set->count > set->count_peak ? set->count : set->count_peak;
    set->proxies += is_proxy ? 1 : 0;
    stats_connections(1);
    conn_io_open(c);
}

/* --- the memory of what is incomplete --- */

/* The oldest of a state that holds memory, for this account (NULL: for any). */
static struct conn *oldest_holder(const struct conn *but, enum conn_state state, int64_t before_ms,
                                  const struct share *account)
{
    struct conn *c = TAILQ_FIRST(&but->set->in_state[state]);
    for (size_t n = 0; c != NULL && c->since_ms <= before_ms && n < SEARCH_MAX; n++) {
        if (c != but && c->in.cap > 0 && (account == NULL || c->account == account)) {
            return c;
        }
        c = TAILQ_NEXT(c, link);
    }
    return NULL;
}

/* Reserves n bytes more for this account. What came first gives way, since it has had the most time
 * to come whole. */
static bool reserve(struct conn *c, struct share *account, size_t n)
{
    int64_t before_ms = clock_mono_ms() - YOUNG_MS;
    enum shares_verdict verdict;
    while ((verdict = shares_reserve(c->set->shares, account, n)) != SHARES_GRANTED) {
        const struct share *of = verdict == SHARES_PEER_FULL ? account : NULL;
        struct conn *victim = oldest_holder(c, CONN_BODY, before_ms, of);
        victim = victim != NULL ? victim : oldest_holder(c, CONN_HEAD, before_ms, of);
        if (victim == NULL) {
            return false;
        }
        conn_close(victim, "memory");
    }
    return true;
}

/* What c keeps counts for another account from now on; or, for want of room, still for the old one. */
static bool set_account(struct conn *c, struct share *account)
{
    if (!reserve(c, account, c->in.cap)) {
        return false;
    }
    shares_release(c->set->shares, c->account, c->in.cap);
    c->account = account;
    return true;
}

bool conn_join_client(struct conn *c, const struct ip_address *client)
{
    struct share *share = shares_join(c->set->shares, client);
    if (share == NULL) {
        return false;
    }
    if (!set_account(c, share)) {
        shares_leave(share);
        return false;
    }
    c->client = share;
    return true;
}

bool conn_leave_client(struct conn *c)
{
    if (c->client == NULL) {
        return true;
    }
    if (!set_account(c, c->share)) {
        return false;
    }
    shares_leave(c->client);
    c->client = NULL;
    return true;
}

/* Of the request that is read: no more is needed for it. */
static size_t most_kept(const struct conn *c)
{
    const struct http_limits *l = &c->set->limits.http;
    bool is_declared = c->state == CONN_BODY && !c->request.is_chunked;
    size_t body = is_declared ? (size_t)c->request.length : l->body_bytes;
    return l->head_bytes + body + CONN_SPACE_BYTES;
}

bool conn_make_room(struct conn *c)
{
    if (c->in.len < c->in.cap) {
        return true;
    }
    size_t most = most_kept(c);
    size_t cap = 2 * c->in.len > KEEP_MIN_BYTES ? 2 * c->in.len : KEEP_MIN_BYTES;
    cap = cap < most ? cap : most;
    if (cap <= c->in.len || !reserve(c, c->account, cap - c->in.cap)) {
        return false;
    }
    set_capacity(c, cap);
    return true;
}

bool conn_keep(struct conn *c, struct slice rest)
{
    if (rest.len == 0) {
        set_capacity(c, 0);
    } else if (rest.ptr == c->in.data) {
        c->in.len = rest.len;
    } else if (c->in.cap > 0) {
        memmove(c->in.data, rest.ptr, rest.len);
        c->in.len = rest.len;
        set_capacity(c, rest.len);
    } else if (reserve(c, c->account, rest.len)) {
        set_capacity(c, rest.len);
        memcpy(c->in.data, rest.ptr, rest.len);
        c->in.len = rest.len;
    } else {
        return false;
    }
    return true;
}

void conn_trim(struct conn_set *set)
{
    bool held_much = set->held_peak >= TRIM_BYTES && set->held <= TRIM_BYTES / 16;
    bool had_many = set->count_peak >= TRIM_COUNT && set->count <= TRIM_COUNT / 16;
    if (held_much) {
        set->held_peak = set->held;
    }
    if (had_many) {
        set->count_peak = set->count;
    }
    if (held_much || had_many) {
        (void)malloc_trim(0);
    }
}
