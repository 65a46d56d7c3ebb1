/*
 * GitHub's service of runner scale sets: jobs whose labels are a set's are assigned to the set, and whoever
 * holds the set's session hears how many they are and what becomes of them.
 *
 * The protocol is that of github.com/actions/scaleset, GitHub's own client (public preview). One session of a
 * set exists at a time; it belongs to one thread. GitHub ends it some minutes after the last poll of a holder
 * that died; until then opening another is ERR_CONFLICT. Registering runners needs no session and is for any
 * thread. Errors as in github.h; no message contains a secret. Calls of the service count against none of
 * REST's limits; a registration takes its turn all the same (github.jit_rate, github.registration_rate).
 */
#ifndef MAYFLY_GITHUB_SCALE_SETS_H
#define MAYFLY_GITHUB_SCALE_SETS_H

#include "common/github/github.h"
#include "common/http/client.h"
#include "common/job/event.h"

struct github_scale_set {
    struct github_scope scope; /* whose jobs it gets */
    const char *name;          /* also its label */
    const char *group;         /* a runner group's name; ignored for a repository */
};

/* What GitHub counts of a set; the truth about its demand, whatever messages were lost. */
struct github_set_statistics {
    int64_t available; /* jobs that wait to be acquired (Enterprise Server) */
    int64_t assigned;  /* jobs of the set that have not ended, running ones included */
    int64_t running;
    int64_t registered; /* runners */
    int64_t busy;
    int64_t idle;
};

enum github_set_event { SET_JOB_AVAILABLE, SET_JOB_ASSIGNED, SET_JOB_STARTED, SET_JOB_COMPLETED };

/* What became of one job. GitHub names it by a GUID and not by the number that webhooks and REST have, so
 * event.job.id is a number made of the GUID (github_set_job_id). */
struct github_set_job {
    enum github_set_event what;
    int64_t request_id;     /* for github_set_acquire; 0 where GitHub assigns by itself */
    struct job_event event; /* of started and completed ones: in_progress, completed */
};

#define GITHUB_SET_JOBS_MAX 200 /* of a message; GitHub sends at most 50, the rest is left out */
struct github_set_message {
    int64_t id; /* 0: there is none yet */
    struct github_set_statistics statistics;
    struct github_set_job *jobs; /* owned: github_set_message_fini */
    size_t count;
};
void github_set_message_fini(struct github_set_message *m);

/* Creates the set where there is none of that name. The session's statistics are the demand of now. `owner`:
 * shown by GitHub to whoever meets the session; another one each time. *out: owned, github_set_close. */
struct github_set_session;
MUST_CHECK int github_set_open(struct github *g, const struct github_scale_set *set,
                               const char *owner, struct github_set_statistics *statistics,
                               struct github_set_session **out, struct err *e);
/* Waits up to a minute for a message; m->id is 0 if none came. `capacity`: jobs that the set takes at most,
 * running ones included. `wait` is called about once a second, and ends it with false: an error of the code
 * HTTP_STOPPED. A message comes again until it is deleted. ERR_NOT_FOUND: the session, or the set, is gone:
 * open another. */
MUST_CHECK int github_set_poll(struct github_set_session *s, int64_t capacity, http_wait_fn *wait,
                               void *wait_arg, struct github_set_message *m, struct err *e);
MUST_CHECK int github_set_delete_message(struct github_set_session *s, int64_t id, struct err *e);
/* Has these jobs assigned to the set, where GitHub does not do so by itself. */
MUST_CHECK int github_set_acquire(struct github_set_session *s, const int64_t *request_ids,
                                  size_t n, struct err *e);
/* Ends the session at GitHub if it can be reached, so that another may follow at once; frees it. */
void github_set_close(struct github_set_session *s);

/* Whether the set exists; creates nothing. ERR_PERMANENT: its runner group does not. */
MUST_CHECK int github_set_exists(struct github *g, const struct github_scale_set *set, bool *exists,
                                 struct err *e);

/* As github_register_runner, into the set. ERR_NOT_FOUND: nobody has created the set yet. */
MUST_CHECK int github_set_register_runner(struct github *g, const struct github_scale_set *set,
                                          const char *name, struct github_jit *out, struct err *e);

/* A number for a job of which only a GUID is known: above every id of GitHub's, below 2^53, so that every JSON reader
 * reads it. The same GUID has the same number. */
#define GITHUB_SET_JOB_ID_MIN (INT64_C(1) << 52)
int64_t github_set_job_id(struct slice guid);
static inline bool github_is_set_job(int64_t job_id)
{
    return job_id >= GITHUB_SET_JOB_ID_MIN;
}

#endif
