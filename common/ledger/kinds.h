/*
 * The kinds of cells through which the programs talk to each other (ledger.h, cells).
 */
#ifndef MAYFLY_LEDGER_KINDS_H
#define MAYFLY_LEDGER_KINDS_H

/* By the VM's name, when an operator asked for its termination (wall clock ms, decimal). The reaper
 * that can reach the VM acts on it once and removes it. */
#define LEDGER_KIND_TERMINATE "terminate"

/* By subject, what an operator should know of a reaper's state, as a sentence. A reaper writes and
 * removes those of its lease; `mayflyctl status` prints them all. */
#define LEDGER_KIND_NOTICE "notice"

/* By class, since when an operator has paused its launches, who and why (pauses.h). */
#define LEDGER_KIND_PAUSE "pause"

/* By the job's id, that it is given up, and how far its answer at GitHub is (give_ups.h). */
#define LEDGER_KIND_GIVE_UP "give_up"

/* By class, which version of its image is launched, and which one is tried (images.h). */
#define LEDGER_KIND_IMAGE "image"

/* By class, when its VMs were last compared with the rows (wall clock ms) and in which history: reconcile.h in
 * common/fleet. */
#define LEDGER_KIND_RECONCILED "reconciled"

/* By name ("fleet"), since when the ledger is complete (reaper/lost/ledger.c); "request": since when an
 * operator wants jobs to be read from GitHub (wall clock ms). */
#define LEDGER_KIND_RECOVERY "recovery"
#define LEDGER_RECOVERY_REQUEST "request"
/* By GitHub's id, a repository whose jobs are still to be read. */
#define LEDGER_KIND_RECOVER "recover"

/* "file": set in a copy of an SQLite ledger (deploy/ctl/backup.c), so that a ledger that was restored has
 * another history (ledger_history) than the one that was copied. */
#define LEDGER_KIND_HISTORY "history"
#define LEDGER_HISTORY_OF_FILE "file"

/* By owner/name, a repository that had jobs (common/fleet/repositories.h). */
#define LEDGER_KIND_REPOSITORY "repository"
/* By log and number, deliveries that were pulled and handled (reaper/pull/records.h). */
#define LEDGER_KIND_PULLED "pulled"
/* By installation, how far its repositories were searched for jobs (reaper/lost/jobs.c). */
#define LEDGER_KIND_ROTATION "rotation"

/* By day ("2026-11-30"), how many totals it has (totals.h). The totals themselves are of the kind "totals.<day>", by
 * class and repository. */
#define LEDGER_KIND_TOTALS "totals"
/* The batch that is added to the totals, or was last. */
#define LEDGER_KIND_TOTALS_BATCH "totals_batch"
#define LEDGER_TOTALS_FLEET "fleet"

/* --- counters --- */

/* Up to when GitHub's delivery log was handled, by GitHub's clock: what is older than this and the overlap
 * needs nothing. */
#define LEDGER_COUNTER_SEEN_UNTIL "deliveries.seen_until_ms"

/* Grows when a worker sees that an earlier delivery of a job is missing: the reaper then reads GitHub's
 * delivery log in its next sweep. */
#define LEDGER_COUNTER_GAPS "deliveries.gaps"

/* With the class's name behind it: how many VMs of the class ended in a row without having had a job.
 * The reaper counts; a VM that gets a job sets it back, by worker or reaper. */
#define LEDGER_COUNTER_JOBLESS "jobless/"
#define LEDGER_JOBLESS_MANY 4
#define LEDGER_JOBLESS_ACTION                                                                      \
    "build a new image, since GitHub gives no jobs to a runner version that is too old; and "      \
    "check "                                                                                       \
    "that the runner group admits the repositories and that the class's labels include all of "    \
    "their jobs' runs-on labels"

/* A line of a job's timeline: it is given up, with the reason. */
#define LEDGER_GIVEN_UP "given_up"

/* A line of a job's timeline: its runner group does not admit its repository, with what to do. */
#define LEDGER_NOT_ADMITTED "not_admitted"

#endif
