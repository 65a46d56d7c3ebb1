/*
 * Shared by the files of the DynamoDB ledger: keys, rows, transactions, reading.
 *
 * For common/ledger/dynamodb/ alone. A step reads its rows (strongly consistent), decides by
 * rules.c, and writes in one TransactWriteItems, which succeeds only if
 *   - each row that it writes has the version that was read: a random word of the transaction that
 *     wrote it last, by which a step whose response was lost recognizes its own writes;
 *   - each counter that the decision depends on still permits it (`demand > supply`, `used < cap`).
 *     The condition is on the value, so other changes of the counter do not conflict.
 * Otherwise the step reads and decides again, with full jitter, until its deadline. Counts change
 * in the transaction of the row that they count, and so cannot drift.
 *
 * Items (pk | sk), each pk with the prefix "<prefix>:":
 *   meta | meta          the layout's version
 *   job:<id> | row       a job, its newest lines and the names of its VMs; | line:NN  older lines
 *   vm:<shard> | <name>  a VM that holds a slot;     gone:<shard> | <name>  one that held one
 *   lines:<vm> | line:NN its older lines
 *   slots | main         slots taken in total: f, c.<class>, t.<target>. Only launches write it
 *   shard | 0…7          slots released (f, c.<class>, t.<target>), in any shard: only sums have a
 *                        meaning. The step's counts are with them
 *   count:0…63 | main    counts of every other step, in any item: jobs and VMs by state and class
 *                        (j1.small, v0.small). Only the sums of these and the shards' have a meaning
 *   pair | <scope>|<class>       d, s: demand and supply; vms: rows; n: changes
 *   pair | <scope>|<class>|0…3   b: how often both fell by one, which changes no decision
 *   repo | <repository>  n: its slots in use; changes
 *   bucket | <name>
 *   cell:<kind> | <name>  n: its version; value
 * One index, by_age (ix, age), finds rows by age: ix is waiting:<scope>|<class>, seen,
 * running, ended or gone; and VMs that are ending, whose age is their name. The index lags, so every row that it
 * finds is read again before it is used.
 */
#ifndef MAYFLY_LEDGER_DYNAMODB_DYNAMODB_H
#define MAYFLY_LEDGER_DYNAMODB_DYNAMODB_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/aws/aws.h"
#include "common/ledger/ledger_backend.h"
#include "common/ledger/list.h"
#include "common/ledger/messages.h"
#include "common/ledger/txn.h"

#define LEDGER_DYNAMO_LAYOUT 1
#define LEDGER_DYNAMO_INDEX "by_age"
#define LEDGER_DYNAMO_SHARDS 8
#define LEDGER_DYNAMO_COUNTS 64
#define LEDGER_DYNAMO_PAIR_SHARDS 4
#define LEDGER_DYNAMO_VM_SHARDS 8

/* --- the handle --- */
struct ledger_dynamo_url {
    char table[256];
    char region[64];
    char endpoint[256];
    char prefix[41];
    int64_t timeout_ms; /* of a whole step */
    bool create;
};
/* dynamodb://TABLE?region=…&endpoint=…&prefix=…&timeout=…&create=1 */
MUST_CHECK int ledger_dynamo_parse_url(const char *url, struct ledger_dynamo_url *out,
                                       struct err *e);

struct ledger_dynamo_sign { /* a counter that a recount found wrong once */
    char what[224];
    int64_t drift;
};

#define LEDGER_DYNAMO_SIGNS 64
struct ledger_dynamo {
    struct aws_client *aws;
    struct ledger_dynamo_url url;
    pthread_mutex_t launching;  /* one launch of a process commits at a time */
    pthread_mutex_t signs_lock; /* what follows */
    struct ledger_dynamo_sign signs[LEDGER_DYNAMO_SIGNS];
    size_t sign_count;
};

/* --- keys --- */
struct ledger_dynamo_key {
    char pk[160];
    char sk[336];
};
PRINTF(3, 4)
struct ledger_dynamo_key ledger_dynamo_key(const struct ledger_dynamo *l, const char *pk,
                                           const char *sk_format, ...);
struct ledger_dynamo_key ledger_dynamo_job_key(const struct ledger_dynamo *l, int64_t id);
struct ledger_dynamo_key ledger_dynamo_vm_key(const struct ledger_dynamo *l, const char *name);
struct ledger_dynamo_key ledger_dynamo_gone_key(const struct ledger_dynamo *l, const char *name);
struct ledger_dynamo_key ledger_dynamo_pair_key(const struct ledger_dynamo *l, const char *scope,
                                                const char *class_name);
struct ledger_dynamo_key ledger_dynamo_pair_shard_key(const struct ledger_dynamo *l,
                                                      const char *scope, const char *class_name,
                                                      unsigned shard);
struct ledger_dynamo_key ledger_dynamo_shard_key(const struct ledger_dynamo *l, unsigned shard);
struct ledger_dynamo_key ledger_dynamo_count_key(const struct ledger_dynamo *l, unsigned count);

/* --- expressions --- */
struct ledger_dynamo_word {
    char text[12];
};
struct ledger_dynamo_expr {
    struct buf set;
    struct buf add;
    struct buf cond; /* of `AND`ed parts */
    struct buf names;
    struct buf values;
    unsigned count;
};
void ledger_dynamo_expr_init(struct ledger_dynamo_expr *x);
void ledger_dynamo_expr_fini(struct ledger_dynamo_expr *x);
/* A placeholder for an attribute's name or for a value, to be used in the texts. */
struct ledger_dynamo_word ledger_dynamo_name(struct ledger_dynamo_expr *x, const char *attribute);
struct ledger_dynamo_word ledger_dynamo_text(struct ledger_dynamo_expr *x, const char *value);
struct ledger_dynamo_word ledger_dynamo_number(struct ledger_dynamo_expr *x, int64_t value);
struct ledger_dynamo_word ledger_dynamo_real(struct ledger_dynamo_expr *x, double value);
void ledger_dynamo_set_text(struct ledger_dynamo_expr *x, const char *attribute, const char *value);
void ledger_dynamo_set_number(struct ledger_dynamo_expr *x, const char *attribute, int64_t value);
void ledger_dynamo_add(struct ledger_dynamo_expr *x, const char *attribute, int64_t by);
/* One more condition, written with placeholders; it gets its parentheses here. */
PRINTF(2, 3) void ledger_dynamo_if(struct ledger_dynamo_expr *x, const char *format, ...);
/* attribute <op> value; `or_absent`: or there is no such attribute. */
void ledger_dynamo_if_number(struct ledger_dynamo_expr *x, const char *attribute, const char *op,
                             int64_t value, bool or_absent);
void ledger_dynamo_if_text(struct ledger_dynamo_expr *x, const char *attribute, const char *value);
/* The row has that version; "": there is no row. */
void ledger_dynamo_if_version(struct ledger_dynamo_expr *x, const char *version);
/* Appends the members of a request, each with a comma before it. */
void ledger_dynamo_expr_render(const struct ledger_dynamo_expr *x, struct buf *out);

/* Attributes of an item that is put: empty texts and zeros are left out. */
void ledger_dynamo_put_text(struct buf *attributes, const char *name, const char *value);
void ledger_dynamo_put_number(struct buf *attributes, const char *name, int64_t value);
void ledger_dynamo_put_real(struct buf *attributes, const char *name, double value);
void ledger_dynamo_render_key(const struct ledger_dynamo_key *key, struct buf *out);
void ledger_dynamo_render_item(const struct ledger_dynamo_key *key, const struct buf *attributes,
                               struct buf *out);

/* --- calls --- */
/* When a step that begins now must have ended, in monotonic time. */
int64_t ledger_dynamo_deadline(const struct ledger_dynamo *l);
/* Why a request is made once more: another was at the same items, which takes milliseconds; there was no
 * answer, or DynamoDB's own trouble; or the table (or one of its partitions) has no capacity left, which
 * comes back by the second. */
enum ledger_dynamo_cause { CAUSE_RACE, CAUSE_UNCLEAR, CAUSE_THROTTLED };
/* Waits before try number `round`, with full jitter. Past the deadline ERR_RETRY, or ERR_THROTTLED
 * by its cause. */
MUST_CHECK int ledger_dynamo_pause(int64_t deadline_ms, int round, enum ledger_dynamo_cause cause,
                                   struct err *e);
/* One request whose repetition does no harm: throttling, and answers that never came, are tried
 * again until the deadline. *out: owned, json_decref; may be NULL. */
MUST_CHECK int ledger_dynamo_call(struct ledger_dynamo *l, const char *operation,
                                  const struct buf *body, int64_t deadline_ms, json_t **out,
                                  struct aws_refusal *refusal, struct err *e);
/* The same without repetition. */
MUST_CHECK int ledger_dynamo_send(struct ledger_dynamo *l, const char *operation,
                                  const struct buf *body, json_t **out, struct aws_refusal *refusal,
                                  struct err *e);

/* What was read: each owned; NULL where there is none. */
struct ledger_dynamo_got {
    json_t **items;
    size_t count;
    size_t capacity;
};
void ledger_dynamo_got_fini(struct ledger_dynamo_got *g);
/* items[i] is keys[i]'s; of keys that are alike, the first one's alone. */
MUST_CHECK int ledger_dynamo_get(struct ledger_dynamo *l, const struct ledger_dynamo_key *keys,
                                 size_t n, struct ledger_dynamo_got *out, struct err *e);

struct ledger_dynamo_query {
    bool index;      /* by_age: pk is ix, sk is age */
    bool eventually; /* half the price; the index knows no other */
    const char *pk;  /* with its prefix */
    const char *how; /* "<", ">", "begins_with" or "BETWEEN"; NULL: all of the partition */
    const char *sk;
    const char *to;    /* BETWEEN's end */
    bool newest_first; /* from the end of what `how` says */
    size_t max;        /* 0: all */
};
MUST_CHECK int ledger_dynamo_query(struct ledger_dynamo *l, const struct ledger_dynamo_query *q,
                                   struct ledger_dynamo_got *out, struct err *e);
/* A walk along the index, from `from` to `to`, oldest first. */
#define LEDGER_DYNAMO_AGE 96
struct ledger_dynamo_walk {
    char ix[288]; /* with its prefix */
    char from[LEDGER_DYNAMO_AGE];
    char to[LEDGER_DYNAMO_AGE];
    size_t max; /* at a time; > 0 */
};
/* From the beginning to what is as old as `before_ms` (not with it); 0: to the end. ix as it stands
 * behind the prefix. */
PRINTF(4, 5)
struct ledger_dynamo_walk ledger_dynamo_walk(const struct ledger_dynamo *l, size_t max,
                                             int64_t before_ms, const char *ix_format, ...);
/* What the index has as a job's age: ordered by time, then by id. */
void ledger_dynamo_age(int64_t at_ms, int64_t job_id, char out[LEDGER_DYNAMO_AGE]);
/* The next keys; `w` moves on behind them. *out: owned, free(). */
MUST_CHECK int ledger_dynamo_query_keys(struct ledger_dynamo *l, struct ledger_dynamo_walk *w,
                                        struct ledger_dynamo_key **out, size_t *n, struct err *e);
/* The same, with the rows read anew: items[i] is NULL where one is gone by now. */
MUST_CHECK int ledger_dynamo_query_rows(struct ledger_dynamo *l, struct ledger_dynamo_walk *w,
                                        struct ledger_dynamo_got *out, struct err *e);

/* An item's attributes; "" and 0 where there is none or no item. */
void ledger_dynamo_read_text(const json_t *item, const char *name, char *out, size_t size);
struct slice ledger_dynamo_read_slice(const json_t *item, const char *name);
int64_t ledger_dynamo_read_number(const json_t *item, const char *name);
double ledger_dynamo_read_real(const json_t *item, const char *name);

/* One item, put if the one there has that version ("": if there is none). *held says whether. */
MUST_CHECK int ledger_dynamo_put_one(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                                     const struct buf *attributes, const char *version, bool *held,
                                     struct err *e);
/* One item, put if the expression's conditions hold. */
MUST_CHECK int ledger_dynamo_put_if(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                                    const struct buf *attributes,
                                    const struct ledger_dynamo_expr *x, bool *held, struct err *e);
/* One item, updated or deleted by an expression. */
MUST_CHECK int ledger_dynamo_update_one(struct ledger_dynamo *l,
                                        const struct ledger_dynamo_key *key,
                                        const struct ledger_dynamo_expr *x, bool *held,
                                        struct err *e);
MUST_CHECK int ledger_dynamo_delete_one(struct ledger_dynamo *l,
                                        const struct ledger_dynamo_key *key,
                                        const struct ledger_dynamo_expr *x, bool *held,
                                        struct err *e);
/* A word nobody has used. */
#define LEDGER_DYNAMO_VERSION 25
void ledger_dynamo_version(char out[LEDGER_DYNAMO_VERSION]);

/* --- rows --- */
/* A row carries its newest lines; when it is full, the older half goes into an item of its own. */
#define LEDGER_DYNAMO_CHUNK 10
#define LEDGER_DYNAMO_TAIL (2 * LEDGER_DYNAMO_CHUNK)
#define LEDGER_DYNAMO_RING 16 /* places of chunks behind the first LEDGER_LINES_FIRST lines */
struct ledger_dynamo_line {
    int64_t order; /* grows along what one step knew of another, near wall clock µs */
    int64_t at_ms;
    char vm[VM_NAME_SIZE];
    char what[40];
    char detail[320];
};
struct ledger_dynamo_lines {
    int64_t count; /* ever logged; the tail holds the newest of them */
    size_t n;
    struct ledger_dynamo_line tail[LEDGER_DYNAMO_TAIL];
};
#define LEDGER_DYNAMO_JOB_VMS 64
#define LEDGER_DYNAMO_MORE 2048
struct ledger_dynamo_job {
    struct ledger_job job; /* zeroed if not known */
    bool known;
    int64_t waits_logged; /* 1 << outcome: causes of waiting that stand in the timeline already */
    int64_t order;        /* of the last step that touched it */
    char version[LEDGER_DYNAMO_VERSION];
    size_t vm_count; /* VMs launched for it or that ran it: the first ones and the newest */
    char vms[LEDGER_DYNAMO_JOB_VMS][VM_NAME_SIZE];
    struct ledger_dynamo_lines lines;
    char more[LEDGER_DYNAMO_MORE]; /* attributes of a newer version, as they are put back */
};
struct ledger_dynamo_vm {
    struct ledger_vm vm;
    bool known;
    int64_t order;
    char version[LEDGER_DYNAMO_VERSION];
    struct ledger_dynamo_lines lines;
    char more[LEDGER_DYNAMO_MORE];
};
/* Of an item, or of none (NULL). ERR_PERMANENT if it is no row of this layout. */
MUST_CHECK int ledger_dynamo_unpack_job(json_t *item, struct ledger_dynamo_job *out, struct err *e);
MUST_CHECK int ledger_dynamo_unpack_vm(json_t *item, struct ledger_dynamo_vm *out, struct err *e);
void ledger_dynamo_pack_job(const struct ledger_dynamo *l, const struct ledger_dynamo_job *row,
                            struct buf *attributes);
void ledger_dynamo_pack_vm(const struct ledger_dynamo *l, const struct ledger_dynamo_vm *row,
                           struct buf *attributes);
/* Lines of an item, at most LEDGER_DYNAMO_TAIL of them. */
size_t ledger_dynamo_unpack_lines(struct slice packed, struct ledger_dynamo_line *out);
void ledger_dynamo_pack_lines(const struct ledger_dynamo_line *lines, size_t n, struct buf *out);
/* Reads a VM's row where it may be: with its slot, or gone. */
MUST_CHECK int ledger_dynamo_find_vm(struct ledger_dynamo *l, const char *name,
                                     struct ledger_dynamo_vm *out, struct err *e);
MUST_CHECK int ledger_dynamo_find_job(struct ledger_dynamo *l, int64_t id,
                                      struct ledger_dynamo_job *out, struct err *e);
/* Both in one request; no VM is asked for if its name is "". */
MUST_CHECK int ledger_dynamo_find_both(struct ledger_dynamo *l, int64_t id, const char *name,
                                       struct ledger_dynamo_job *job, struct ledger_dynamo_vm *vm,
                                       struct err *e);

/* --- transactions --- */
#define LEDGER_DYNAMO_ITEMS 100 /* DynamoDB's limit */
#define LEDGER_DYNAMO_PAIRS 24
#define LEDGER_DYNAMO_SUMS 64

enum ledger_dynamo_demand { /* what must hold of a pair before this transaction */
                            DEMAND_ANY,
                            DEMAND_ABOVE_SUPPLY,
                            DEMAND_NOT_BELOW_SUPPLY, /* or there is no such pair yet */
                            DEMAND_BELOW_SUPPLY
};

struct ledger_dynamo_pair {
    char scope[SCOPE_SIZE];
    char class_name[CLASS_NAME_SIZE];
    int64_t demand; /* changes by */
    int64_t supply;
    int64_t vms;
    int64_t installation_id; /* 0: keeps it */
    enum ledger_dynamo_demand holds;
    int64_t spare;       /* wanted beyond the demand; an expression cannot add it: */
    int64_t demand_seen; /* with it, the demand must not have moved past this, which was read */
};

struct ledger_dynamo_sum {
    char name[56];
    int64_t by;
};

struct ledger_dynamo_launch { /* slots taken */
    bool taken;
    char class_name[CLASS_NAME_SIZE];
    char target[TARGET_NAME_SIZE]; /* "": none */
    int64_t fleet_most;            /* ever taken before this one: less than this */
    int64_t class_most;
    int64_t target_most;
};

struct ledger_dynamo_txn {
    struct ledger_dynamo *l;
    int64_t deadline_ms;
    int round;
    int64_t now_ms; /* the round's wall clock */
    int64_t order;  /* of the newest line that this step knows of */
    char version[LEDGER_DYNAMO_VERSION];
    struct buf items; /* of this round */
    size_t count;
    struct ledger_dynamo_key proof; /* a row that this transaction writes; pk "": none */
    size_t newborn;                 /* the place of a row that must be new, plus 1 */
    bool taken;                     /* that row was there already */
    struct ledger_dynamo_pair pairs[LEDGER_DYNAMO_PAIRS];
    size_t pair_count;
    struct ledger_dynamo_sum sums[LEDGER_DYNAMO_SUMS];
    size_t sum_count;
    bool frees; /* some of them are slots released */
    struct ledger_dynamo_launch launch;
    struct ledger_dynamo_repository {
        char name[REPOSITORY_SIZE];
        int64_t by;
    } repositories[2]; /* whose slots change; two when a VM runs another's job than its own */
    size_t repository_count;
    int64_t repository_cap; /* of one that takes a slot by a launch; 0: none */
};
void ledger_dynamo_begin(struct ledger_dynamo_txn *t, struct ledger_dynamo *l);
void ledger_dynamo_end(struct ledger_dynamo_txn *t);
/* Starts another round, after a wait. ERR_RETRY past the deadline. */
MUST_CHECK int ledger_dynamo_again(struct ledger_dynamo_txn *t, struct err *e);
/* Writes what was gathered if everything still holds; nothing gathered is done. */
MUST_CHECK int ledger_dynamo_commit(struct ledger_dynamo_txn *t, bool *done, struct err *e);

void ledger_dynamo_put(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                       const struct buf *attributes, const struct ledger_dynamo_expr *x);
void ledger_dynamo_update(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                          const struct ledger_dynamo_expr *x);
void ledger_dynamo_delete(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                          const struct ledger_dynamo_expr *x);
/* Counts in a shard. */
void ledger_dynamo_count(struct ledger_dynamo_txn *t, const char *name, int64_t by);
PRINTF(3, 4)
void ledger_dynamo_countf(struct ledger_dynamo_txn *t, int64_t by, const char *format, ...);
struct ledger_dynamo_pair *ledger_dynamo_pair_of(struct ledger_dynamo_txn *t, const char *scope,
                                                 const char *class_name);

/* Loads for this step: its lines will stand behind theirs. */
MUST_CHECK int ledger_dynamo_load_vm(struct ledger_dynamo_txn *t, const char *name,
                                     struct ledger_dynamo_vm *out, struct err *e);
MUST_CHECK int ledger_dynamo_load_both(struct ledger_dynamo_txn *t, int64_t id, const char *name,
                                       struct ledger_dynamo_job *job, struct ledger_dynamo_vm *vm,
                                       struct err *e);
/* Adds a line to a row that is to be written. Returns false if there is none to add, or it repeats
 * the last one. */
bool ledger_dynamo_log_job(struct ledger_dynamo_txn *t, struct ledger_dynamo_job *row,
                           const char *vm, const struct ledger_line *line);
bool ledger_dynamo_log_vm(struct ledger_dynamo_txn *t, struct ledger_dynamo_vm *row,
                          const struct ledger_line *line);
void ledger_dynamo_relate(struct ledger_dynamo_job *row, const char *vm);
/* A row with all that is counted of it. before NULL: it is new. */
void ledger_dynamo_write_job(struct ledger_dynamo_txn *t, const struct ledger_job *before,
                             struct ledger_dynamo_job *after);
void ledger_dynamo_write_vm(struct ledger_dynamo_txn *t, const struct ledger_vm *before,
                            struct ledger_dynamo_vm *after);
void ledger_dynamo_remove_job(struct ledger_dynamo_txn *t, const struct ledger_dynamo_job *row);
void ledger_dynamo_remove_vm(struct ledger_dynamo_txn *t, const struct ledger_dynamo_vm *row);

/* --- counters --- */
/* Adds up what the shards say. */
int64_t ledger_dynamo_sum_of(const struct ledger_dynamo_got *shards, const char *name);
MUST_CHECK int ledger_dynamo_read_shards(struct ledger_dynamo *l, bool eventually,
                                         struct ledger_dynamo_got *out, struct err *e);
/* Demand, supply and standing VMs of every pair. *out: owned, free(). */
struct ledger_dynamo_total {
    char scope[SCOPE_SIZE];
    char class_name[CLASS_NAME_SIZE];
    int64_t demand;
    int64_t supply;
    int64_t both; /* taken off of each already */
    int64_t vms;
    int64_t installation_id;
    int64_t installed_ms;
    int64_t changes;
    int64_t changed_ms;
};
MUST_CHECK int ledger_dynamo_totals(struct ledger_dynamo *l, struct ledger_dynamo_total **out,
                                    size_t *n, struct err *e);

/* --- buckets --- */
struct ledger_dynamo_bucket {
    struct ledger_bucket_row row;
    char version[LEDGER_DYNAMO_VERSION]; /* "": nobody has used it */
};
void ledger_dynamo_unpack_bucket(const json_t *item, int64_t now_ms,
                                 struct ledger_dynamo_bucket *out);
void ledger_dynamo_pack_bucket(const struct ledger_bucket_row *row, const char *version,
                               struct buf *attributes);

/* The two buckets that a launch takes from. Their tokens are taken outside its transaction, since one
 * that had to hold the buckets too would conflict with every other launch. */
struct ledger_dynamo_rate {
    char names[2][LEDGER_BUCKET_SIZE]; /* the fleet's or the target's, the class's */
    struct ledger_dynamo_key keys[2];
    double per_second[2];
    int64_t burst[2];
    struct ledger_dynamo_bucket was[2];
    struct ledger_bucket_row now[2]; /* refilled, nothing spent */
    int64_t wait_ms;
    bool set_back; /* the clock was: the rows want writing though nothing is spent */
};
void ledger_dynamo_rate_begin(struct ledger_dynamo_rate *rate, const struct ledger_dynamo *l,
                              const char *target, const char *class_name,
                              const struct ledger_caps *caps);
void ledger_dynamo_rate_read(struct ledger_dynamo_rate *rate, json_t *const items[2],
                             int64_t now_ms);
/* Takes a token of both, or of neither: then wait_ms is not 0. After an error one may be lost. */
MUST_CHECK int ledger_dynamo_rate_spend(struct ledger_dynamo *l, struct ledger_dynamo_rate *rate,
                                        struct err *e);
/* Of a launch that did not need them after all. What this fails to give back is lost; so are those of a
 * launch that failed because the table is out of reach, since this would fail too, and take as long. */
bool ledger_dynamo_is_out(const struct err *e);
void ledger_dynamo_rate_give_back(struct ledger_dynamo *l, const struct ledger_dynamo_rate *rate);
/* Otherwise a bucket that was empty when the clock was set back would not refill until the clock has
 * caught up. */
MUST_CHECK int ledger_dynamo_rate_repair(struct ledger_dynamo *l,
                                         const struct ledger_dynamo_rate *rate, struct err *e);
/* Fills rate_wait_ms; the same repair. */
MUST_CHECK int ledger_dynamo_rate_of_target(struct ledger_dynamo *l,
                                            const struct ledger_dynamo_key *key, const json_t *item,
                                            struct ledger_target_use *t, struct err *e);

/* --- opening --- */
/* The beginning of a request about the table itself: all but the closing brace. */
void ledger_dynamo_begin_body(const struct ledger_dynamo *l, struct buf *body);
/* DescribeTable. *out: owned; refusal may be NULL. */
MUST_CHECK int ledger_dynamo_describe(struct ledger_dynamo *l, json_t **out,
                                      struct aws_refusal *refusal, struct err *e);
/* Ours among the table's; NULL if it lacks it. */
const json_t *ledger_dynamo_find_index(const json_t *table);
/* Creates the table if the URL says so, and checks that it is a ledger. */
MUST_CHECK int ledger_dynamo_check_table(struct ledger_dynamo *l, struct err *e);

extern const struct ledger_txn_ops ledger_dynamo_txn_ops;

/* --- the calls, by topic --- */
ledger_job_get_fn ledger_dynamo_job_get;
ledger_job_page_fn ledger_dynamo_job_page;
ledger_reserve_fn ledger_dynamo_reserve;
ledger_capacity_fn ledger_dynamo_capacity;
ledger_targets_read_fn ledger_dynamo_targets_read;
ledger_release_seq_fn ledger_dynamo_release_seq;
ledger_balances_fn ledger_dynamo_balances;
ledger_scopes_fn ledger_dynamo_scopes;
ledger_vm_get_fn ledger_dynamo_vm_get;
ledger_vm_list_fn ledger_dynamo_vm_list;
ledger_vms_gone_fn ledger_dynamo_vms_gone;
ledger_timeline_fn ledger_dynamo_timeline;
ledger_rate_take_fn ledger_dynamo_rate_take;
ledger_rate_pause_fn ledger_dynamo_rate_pause;
ledger_cells_fn ledger_dynamo_cells;
ledger_counts_fn ledger_dynamo_counts;
ledger_tidy_fn ledger_dynamo_tidy;
ledger_repair_fn ledger_dynamo_repair;
ledger_check_fn ledger_dynamo_check;

#endif
