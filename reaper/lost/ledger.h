/*
 * A lost ledger: what rebuilding it leaves from sweep to sweep (ledger.c).
 */
#ifndef MAYFLY_REAPER_LOST_LEDGER_H
#define MAYFLY_REAPER_LOST_LEDGER_H

#include "reaper/lost/job_lists.h"
#include "reaper/lost/unread.h"

enum recovery_stage {
    RECOVERY_NONE,
    RECOVERY_LOG,          /* GitHub's delivery log names the repositories with queued jobs */
    RECOVERY_REPOSITORIES, /* their jobs are read */
    RECOVERY_PAYLOADS, /* of repositories whose jobs may not be listed, the deliveries are read */
};

#define RECOVERY_IDS_MAX 10000

/* What is read of one installation, which has a share of calls and a circuit of its own. */
struct recovery_reading {
    int64_t installation_id;
    int64_t repository_id; /* of `lists` */
    struct job_lists lists;
    bool paused; /* until the next sweep */
};

struct recovery {
    int64_t seen_version; /* the newest of the ledger's cell that this process saw */
    enum recovery_stage stage;
    int64_t since_ms;
    /* Repositories that the present reading of the log has met (RECOVERY_LOG), or whose deliveries
     * are read (RECOVERY_PAYLOADS). */
    int64_t *ids;
    size_t id_count;
    struct recovery_reading *readings;
    size_t reading_count;
    struct unread_list unread;
    int64_t began_ms; /* monotonic: when this process began it, or first saw it */
    int64_t jobs;     /* recovered by this process */
};

struct reaper;
struct sweep;
struct github_delivery;

void reaper_free_recovery(struct reaper *r);

/* What a reading of the delivery log that begins now does for the recovery. */
int sweep_recovery_begin_log(struct sweep *s, struct err *e);
/* Whether that entry is recovered although its delivery was accepted. Records its repository. */
MUST_CHECK int sweep_recovery_see(struct sweep *s, const struct github_delivery *d, bool *wanted,
                                  struct err *e);
/* The log was read as far back as the recovery needs. */
MUST_CHECK int sweep_recovery_log_read(struct sweep *s, struct err *e);

#endif
