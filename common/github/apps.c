/*
 * Which App makes a call, where there are several. An owner is served by the Apps that name it
 * (github.apps[].organizations), or else by those that name none. Where that is more than one they
 * share the work: each has an installation there, and so a limit of its own. A runner belongs to its
 * organization and not to the App that registered it, so any of them may ask about it or delete it.
 *
 * Runners of an enterprise are the token's; without any App it serves everything.
 *
 * A delivery's installation id is of the App whose hook sent it. With one App it saves a lookup; with
 * several no id is taken from a delivery (which does not say under GitHub's signature whose it is).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/github/internal.h"

#define REFUSED_MS INT64_C(60000) /* then it is tried again */

void github_owner_key(const struct github_scope *s, char *out, size_t size)
{
    size_t n = 0;
    for (; n + 1 < size && s->name[n] != '\0' && s->name[n] != '/'; n++) {
        char c = s->name[n];
        out[n] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    out[n] = '\0';
}

void github_installation_bucket(const struct github_identity *i, int64_t installation,
                                char out[GITHUB_BUCKET_NAME])
{
    (void)snprintf(out, GITHUB_BUCKET_NAME, "github:%" PRId64 "%s", installation, i->suffix);
}

/* --- who serves an owner ---------------------------------------------------------------------- */

static bool names_owner(const struct github_identity *i, const char *owner)
{
    for (size_t k = 0; k < i->owners.count; k++) {
        if (slice_eq_nocase(slice_of(i->owners.items[k]), slice_of(owner))) {
            return true;
        }
    }
    return false;
}

static bool has_listed(const struct github_identity *i, int64_t installation)
{
    for (size_t k = 0; k < i->listed_count; k++) {
        if (i->listed[k] == installation) {
            return true;
        }
    }
    return false;
}

void github_note_installation(struct github *g, struct github_identity *i, int64_t installation)
{
    pthread_mutex_lock(&g->lock);
    if (!has_listed(i, installation)) {
        i->listed = reallocarray(i->listed, i->listed_count + 1, sizeof *i->listed);
        ASSERT(i->listed != NULL);
        i->listed[i->listed_count++] = installation;
    }
    pthread_mutex_unlock(&g->lock);
}

/* Of calls that name no owner, as for an installation's repositories; an id that was never listed
 * is of the App whose hook is on. Under the lock. */
static void choose_by_installation(struct github *g, int64_t installation,
                                   struct github_choice *out)
{
    struct github_identity *found = &g->identities[0];
    for (size_t k = 0; k < g->app_count && installation > 0; k++) {
        if (has_listed(&g->identities[k], installation)) {
            found = &g->identities[k];
            break;
        }
    }
    out->list[out->count++] = found;
}

/* Under the lock. Without an App the token serves all. */
static void choose_by_owner(struct github *g, const char *owner, struct github_choice *out)
{
    bool named = false;
    for (size_t k = 0; k < g->app_count; k++) {
        named = named || names_owner(&g->identities[k], owner);
    }
    for (size_t k = 0; k < g->app_count; k++) {
        struct github_identity *i = &g->identities[k];
        if (named ? names_owner(i, owner) : i->owners.count == 0) {
            out->list[out->count++] = i;
        }
    }
    if (g->app_count == 0) {
        out->list[out->count++] = &g->identities[0];
    }
}

bool github_app_serves(struct github *g, size_t app, const char *owner)
{
    struct github_choice c = {.count = 0};
    bool serves = false;
    pthread_mutex_lock(&g->lock);
    choose_by_owner(g, owner, &c);
    pthread_mutex_unlock(&g->lock);
    for (size_t k = 0; k < c.count; k++) {
        serves = serves || c.list[k] == &g->identities[app];
    }
    return serves;
}

/* GitHub's API of enterprises takes no App's token. */
static void choose_token(struct github *g, struct github_choice *out)
{
    for (size_t k = g->app_count; k < g->identity_count; k++) {
        out->list[out->count++] = &g->identities[k];
    }
}

static void choose_by_scope(struct github *g, const struct github_scope *s,
                            struct github_choice *out)
{
    char owner[sizeof s->name];
    github_owner_key(s, owner, sizeof owner);
    pthread_mutex_lock(&g->lock);
    if (s->is_enterprise) {
        choose_token(g, out);
    } else if (owner[0] == '\0') {
        choose_by_installation(g, s->installation_id, out);
    } else {
        choose_by_owner(g, owner, out);
    }
    pthread_mutex_unlock(&g->lock);
}

size_t github_serving(struct github *g, const struct github_scope *s)
{
    struct github_choice c = {.count = 0};
    choose_by_scope(g, s, &c);
    return c.count;
}

/* --- which of them first ---------------------------------------------------------------------- */

static void note_refusal(struct github *g, struct github_identity *i, const struct github_scope *s,
                         int64_t pause_ms)
{
    char owner[sizeof s->name];
    github_owner_key(s, owner, sizeof owner);
    pthread_mutex_lock(&g->lock);
    i->refusals[i->next_refusal] =
        (struct github_refusal){hash_text(owner), clock_mono_ms() + pause_ms};
    i->next_refusal = (i->next_refusal + 1) % GITHUB_REFUSALS_MAX;
    pthread_mutex_unlock(&g->lock);
}

static bool was_refused(struct github *g, const struct github_identity *i, uint64_t owner)
{
    bool refused = false;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&g->lock);
    for (size_t k = 0; k < GITHUB_REFUSALS_MAX; k++) {
        refused |= i->refusals[k].owner == owner && now_ms < i->refusals[k].until_ms;
    }
    pthread_mutex_unlock(&g->lock);
    return refused;
}

/* Of its hourly limit, as GitHub last said; 1: not known. */
static double share_left(struct github *g, struct github_identity *i, const struct github_scope *s)
{
    char name[GITHUB_BUCKET_NAME];
    double share = 1;
    if (!github_bucket_of(g, i, s, name)) {
        return share;
    }
    const struct github_bucket *b = github_bucket(g, name);
    pthread_mutex_lock(&g->lock);
    if (b->limit > 0 && b->left >= 0 && clock_wall_ms() < b->reset_ms) {
        share = (double)b->left / (double)b->limit;
    }
    pthread_mutex_unlock(&g->lock);
    return share;
}

/* The higher, the sooner; 0 and below: only if no other may make the call. */
static double rank_of(struct github *g, struct github_identity *i, const struct github_scope *s,
                      enum github_order order)
{
    char owner[sizeof s->name];
    github_owner_key(s, owner, sizeof owner);
    if (was_refused(g, i, hash_text(owner))) {
        return -1;
    }
    double share = share_left(g, i, s);
    return order == GITHUB_BY_SHARE || share <= 0 ? share : 1;
}

/* Stable: those of one rank keep their order. */
static void sort_by_rank(struct github_identity **list, double *ranks, size_t n)
{
    for (size_t k = 1; k < n; k++) {
        struct github_identity *moving = list[k];
        double rank = ranks[k];
        size_t at = k;
        for (; at > 0 && ranks[at - 1] < rank; at--) {
            list[at] = list[at - 1];
            ranks[at] = ranks[at - 1];
        }
        list[at] = moving;
        ranks[at] = rank;
    }
}

static void rotate_left(struct github_identity **list, size_t n, unsigned by)
{
    struct github_identity *copy[GITHUB_IDENTITIES_MAX];
    memcpy((void *)copy, (const void *)list, n * sizeof(struct github_identity *));
    for (size_t k = 0; k < n; k++) {
        list[k] = copy[(k + by) % n];
    }
}

static void put_in_order(struct github *g, const struct github_scope *s, enum github_order order,
                         struct github_choice *c)
{
    double ranks[GITHUB_IDENTITIES_MAX];
    size_t usable = 0;
    for (size_t k = 0; k < c->count; k++) {
        ranks[k] = rank_of(g, c->list[k], s, order);
        usable += ranks[k] > 0;
    }
    sort_by_rank(c->list, ranks, c->count);
    if (order == GITHUB_IN_TURN && usable > 1) {
        pthread_mutex_lock(&g->lock);
        unsigned turn = g->turn++;
        pthread_mutex_unlock(&g->lock);
        rotate_left(c->list, usable, turn);
    }
}

int github_choose(struct github *g, const struct github_scope *s, enum github_order order,
                  struct github_choice *out, struct err *e)
{
    out->count = 0;
    out->at = 0;
    choose_by_scope(g, s, out);
    if (out->count == 0) {
        (void)err_set(e, ERR_AUTH, 0, "%s %s: %s",
                      s->is_enterprise ? "no token serves" : "no App serves", s->name,
                      s->is_enterprise ? "give github.token"
                                       : "add it to github.apps[].organizations of one that is "
                                         "installed there");
        return err_said_by(e, ERR_FROM_APP);
    }
    if (out->count > 1) {
        put_in_order(g, s, order, out);
    }
    return 0;
}

/* --- when one is refused ---------------------------------------------------------------------- */

static bool is_of_identity(const struct err *e)
{
    return e->class == ERR_AUTH || e->class == ERR_THROTTLED || e->from == ERR_FROM_KMS;
}

/* An error that says when the call may succeed helps more. */
static bool helps_more(const struct err *e, const struct err *than)
{
    return e->class == ERR_THROTTLED &&
           (than->class != ERR_THROTTLED || e->retry_after_ms < than->retry_after_ms);
}

bool github_choose_next(struct github *g, const struct github_scope *s, struct github_choice *c,
                        struct err *e)
{
    if (c->count == 1 || !is_of_identity(e)) {
        return false;
    }
    int64_t pause_ms = e->class == ERR_THROTTLED ? e->retry_after_ms : REFUSED_MS;
    note_refusal(g, c->list[c->at], s, pause_ms);
    if (c->at == 0 || helps_more(e, &c->why)) {
        c->why = *e;
    }
    if (c->at + 1 < c->count) {
        c->at++;
        return true;
    }
    *e = c->why;
    return false;
}

int github_error_of(const struct github *g, const struct github_identity *i, struct err *e)
{
    bool refused = e->from == ERR_FROM_KMS ||
                   (e->from == ERR_FROM_APP && e->class == ERR_AUTH && e->code == 401);
    bool away = g->several_servers && e->class == ERR_RETRY && e->code <= 0 &&
                (e->from == ERR_FROM_APP || e->from == ERR_FROM_GITHUB);
    e->of_one_app = g->identity_count > 1 && (refused || away);
    return g->app_count > 1 && github_is_app(i) ? err_wrap(e, "App %s", i->app_id) : -1;
}
