/*
 * The repositories that had jobs of this deployment: a cell of the ledger each, with the time of
 * their last job to within hours.
 *
 * Workers note the repository of every event; once an hour and repository that costs a read, and
 * once in six a write. The reaper reads them all. Any thread.
 */
#ifndef MAYFLY_FLEET_REPOSITORIES_H
#define MAYFLY_FLEET_REPOSITORIES_H

#include "common/ledger/ledger.h"

#define REPOSITORIES_ACTIVE_MS (7 * 24 * 3600 * 1000LL)

/* What this process has noted lately, by a hash of each name. Zero it to begin. */
#define REPOSITORIES_NOTED 4096
struct repositories_noted {
    uint64_t names[REPOSITORIES_NOTED]; /* atomic, with the hour in it */
};

/* A job of the repository was seen. A ledger that fails is asked again with the next job. */
void repositories_note(struct repositories_noted *noted, struct ledger *l, const char *repository,
                       int64_t installation_id);

struct repository_seen {
    char name[REPOSITORY_SIZE]; /* owner/name */
    int64_t installation_id;    /* 0: unknown, or a personal token's */
    int64_t job_ms;             /* wall clock of a job, the last one or up to six hours before it */
};
/* Those with a job since then, by name. Forgets the others. *out: owned, free(). */
MUST_CHECK int repositories_list(struct ledger *l, int64_t since_ms, struct repository_seen **out,
                                 size_t *n, struct err *e);

#endif
