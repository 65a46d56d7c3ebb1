/*
 * The fields of a job's facts, for the tables of record.h. `type` has a member `job`. For the
 * sources of common/job alone.
 */
#ifndef MAYFLY_JOB_FIELDS_H
#define MAYFLY_JOB_FIELDS_H

#include "common/job/job.h"
#include "common/job/record.h"

#define NUMBER_FIELD(key, type, member)                                                            \
    {                                                                                              \
        key, RECORD_AT(type, member), RECORD_NUMBER, false, NULL                                   \
    }
#define TEXT_FIELD(key, type, member)                                                              \
    {                                                                                              \
        key, RECORD_AT(type, member), RECORD_TEXT, false, NULL                                     \
    }
#define OPTIONAL_FIELD(key, type, member)                                                          \
    {                                                                                              \
        key, RECORD_AT(type, member), RECORD_TEXT, true, NULL                                      \
    }
#define WORD_FIELD(key, type, member, words)                                                       \
    {                                                                                              \
        key, RECORD_AT(type, member), RECORD_WORD, false, words                                    \
    }
#define JOB_FIELDS(type)                                                                           \
    NUMBER_FIELD("job", type, job.id), NUMBER_FIELD("run", type, job.run_id),                      \
        NUMBER_FIELD("attempt", type, job.run_attempt),                                            \
        NUMBER_FIELD("installation", type, job.installation_id),                                   \
        NUMBER_FIELD("created_ms", type, job.created_ms),                                          \
        TEXT_FIELD("repository", type, job.repository),                                            \
        TEXT_FIELD("organization", type, job.organization),                                        \
        TEXT_FIELD("conclusion", type, job.conclusion),                                            \
        TEXT_FIELD("runner_name", type, job.runner_name), OPTIONAL_FIELD("name", type, job.name),  \
        OPTIONAL_FIELD("workflow", type, job.workflow), OPTIONAL_FIELD("labels", type, job.labels)

/* Requires an id, and a repository as owner/name. */
MUST_CHECK int job_fields_check(const char *what, const struct job *job, struct err *e);

#endif
