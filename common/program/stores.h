/*
 * The stores of worker and reaper: queue, ledger, GitHub and the VM providers, opened and closed
 * together. Plain: the members may be used directly; each is thread-safe.
 */
#ifndef MAYFLY_PROGRAM_STORES_H
#define MAYFLY_PROGRAM_STORES_H

#include "common/config/config.h"
#include "common/events/events.h"
#include "common/fleet/fleet.h"
#include "common/github/github.h"
#include "common/ledger/ledger.h"
#include "common/program/host.h"
#include "common/program/presence.h"
#include "common/queue/queue.h"

struct stores {
    struct host host;
    struct queue *queue;
    struct ledger *ledger;
    struct github *github;
    struct fleet *fleet;
    struct events *events; /* observes the ledger; NULL: not configured */
};

/* Opens all of them. `program`: its name, static. After a failure the ones that were opened are set: call stores_close. */
MUST_CHECK int stores_open(const struct config *c, const char *program, struct stores *out,
                           struct err *e);
void stores_close(struct stores *s); /* members may be NULL */

/* The configured classes whose provider is open. Valid as long as both. */
struct presence_classes stores_classes(const struct stores *s, const struct config *c);

/* Whether queue and ledger respond; otherwise appends the reason to `why`. */
bool stores_ready(const struct stores *s, struct buf *why);

#endif
