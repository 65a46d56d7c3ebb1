/*
 * The columns of a job's and a VM's row, defined once for all stores.
 *
 * For the backends alone. A store iterates over the table to encode or decode a row. The order,
 * both names and the numbers' meaning are part of the stored formats: Redis writes the columns in
 * this order, so a newer version may only append columns; those that a row lacks are unknown.
 */
#ifndef MAYFLY_LEDGER_COLUMNS_H
#define MAYFLY_LEDGER_COLUMNS_H

#include "common/ledger/ledger.h"

/* KEY: identifies the row. FIXED: written when the row is added. MOVES: a step may change it.
 * Arguments: kind, name (SQL), attribute (DynamoDB, short since its length is billed), member. */
#define LEDGER_JOB_COLUMNS(KEY, MOVES)                                                             \
    KEY(NUMBER, "id", "id", facts.id)                                                              \
    MOVES(STATE, "state", "state", state)                                                          \
    MOVES(NUMBER, "run_id", "run", facts.run_id)                                                   \
    MOVES(NUMBER, "run_attempt", "attempt", facts.run_attempt)                                     \
    MOVES(NUMBER, "installation_id", "install", facts.installation_id)                             \
    MOVES(TEXT, "repository", "repo", facts.repository)                                            \
    MOVES(TEXT, "organization", "org", facts.organization)                                         \
    MOVES(TEXT, "scope", "scope", scope)                                                           \
    MOVES(TEXT, "class_name", "class", facts.class_name)                                           \
    MOVES(TEXT, "name", "name", facts.name)                                                        \
    MOVES(TEXT, "labels", "labels", facts.labels)                                                  \
    MOVES(TEXT, "conclusion", "conclusion", facts.conclusion)                                      \
    MOVES(TEXT, "runner_name", "runner", facts.runner_name)                                        \
    MOVES(NUMBER, "created_ms", "created", facts.created_ms)                                       \
    MOVES(NUMBER, "waiting_ms", "waiting", waiting_ms)                                             \
    MOVES(NUMBER, "running_ms", "running", running_ms)                                             \
    MOVES(NUMBER, "ended_ms", "ended", ended_ms)                                                   \
    MOVES(NUMBER, "updated_ms", "updated", updated_ms)                                             \
    MOVES(NUMBER, "relaunched_ms", "relaunched", relaunched_ms)                                    \
    MOVES(NUMBER, "relaunches", "relaunches", relaunches)                                          \
    MOVES(TEXT, "workflow", "workflow", facts.workflow)

#define LEDGER_VM_COLUMNS(KEY, FIXED, MOVES)                                                       \
    KEY(TEXT, "name", "name", name)                                                                \
    MOVES(STATE, "state", "state", state)                                                          \
    FIXED(TEXT, "client_token", "token", client_token)                                             \
    FIXED(TEXT, "provider", "provider", provider)                                                  \
    FIXED(TEXT, "class_name", "class", class_name)                                                 \
    FIXED(TEXT, "scope", "scope", scope)                                                           \
    MOVES(TEXT, "repository", "repo", repository)                                                  \
    FIXED(TEXT, "host", "host", host)                                                              \
    MOVES(TEXT, "vm_id", "vm", vm_id)                                                              \
    FIXED(NUMBER, "installation_id", "install", installation_id)                                   \
    FIXED(NUMBER, "for_job", "for", for_job)                                                       \
    MOVES(NUMBER, "job_id", "job", job_id)                                                         \
    MOVES(NUMBER, "runner_id", "runner", runner_id)                                                \
    FIXED(NUMBER, "reserved_ms", "reserved", reserved_ms)                                          \
    MOVES(NUMBER, "registered_ms", "registered", registered_ms)                                    \
    MOVES(NUMBER, "launched_ms", "launched", launched_ms)                                          \
    MOVES(NUMBER, "busy_ms", "busy", busy_ms)                                                      \
    MOVES(NUMBER, "ending_ms", "ending", ending_ms)                                                \
    MOVES(NUMBER, "gone_ms", "gone", gone_ms)                                                      \
    MOVES(NUMBER, "deadline_ms", "deadline", deadline_ms)                                          \
    MOVES(TEXT, "end_reason", "reason", end_reason)                                                \
    MOVES(NUMBER, "heartbeat_ms", "heartbeat", heartbeat_ms)                                       \
    MOVES(TEXT, "image_version", "image", image_version)                                           \
    MOVES(NUMBER, "image_part", "part", image_part)                                                \
    MOVES(NUMBER, "hold_ms", "hold", hold_ms)                                                      \
    FIXED(TEXT, "target", "target", target)

enum ledger_column_kind { LEDGER_TEXT, LEDGER_NUMBER, LEDGER_STATE };

struct ledger_column {
    enum ledger_column_kind kind;
    bool moves;
    const char *attribute;
    size_t offset;
    size_t size;
};

#define LEDGER_COLUMNS_MAX 26
struct ledger_columns {
    const struct ledger_column *at;
    size_t count;
    size_t row_size;
    int64_t state_max;
};
extern const struct ledger_columns ledger_job_columns; /* of a struct ledger_job */
extern const struct ledger_columns ledger_vm_columns;  /* of a struct ledger_vm */

/* A column of a row: its text, or its number. */
const char *ledger_column_text(const struct ledger_column *c, const void *row);
int64_t ledger_column_number(const struct ledger_column *c, const void *row);

/* Zeroes the row and its padding, so that rows can be compared by memcmp. */
void ledger_columns_clear(const struct ledger_columns *columns, void *row);
/* The text column's buffer of c->size bytes, NUL included. */
char *ledger_column_space(const struct ledger_column *c, void *row);
/* False if there is no such state. */
bool ledger_column_set(const struct ledger_columns *columns, const struct ledger_column *c,
                       void *row, int64_t number);

#endif
