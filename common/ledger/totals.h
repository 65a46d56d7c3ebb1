/*
 * Daily totals: what the VMs of a runner class and a repository used on one day (UTC), kept long after
 * their rows are deleted. `mayflyctl cost` reads them.
 *
 * A VM counts on the day on which it became gone, once: the reaper adds the VMs that became gone in a
 * span of time as one numbered batch. The batch is recorded before it is added, and each total
 * remembers the last batch that was added to it. So a batch that a crash cut short is repeated from
 * its record, one that two reapers add at once is added by either, and no total gets it twice. The
 * totals lag behind by LEDGER_TOTALS_LAG_MS. A VM whose row appears later than that (in a lagging index,
 * or by a clock that is so far behind) is not counted.
 *
 * Nothing here is about money: prices are applied when somebody asks. The cells are of kinds.h. Any thread.
 */
#ifndef MAYFLY_LEDGER_TOTALS_H
#define MAYFLY_LEDGER_TOTALS_H

#include "common/ledger/ledger.h"

#define LEDGER_TOTAL_DAYS 90
/* Of one day. Beyond it the rest of the day goes to one total for each class, of this repository. */
#define LEDGER_TOTALS_PER_DAY 10000
#define LEDGER_TOTAL_OTHER "other"
#define LEDGER_TOTALS_LAG_MS (60 * 1000LL)

#define LEDGER_DAY_SIZE 11 /* "2026-11-30" */
struct ledger_total {
    char class_name[CLASS_NAME_SIZE];
    char
        repository[REPOSITORY_SIZE]; /* that the VM ran a job of, or was launched for; "" unknown */
    int64_t vms;                     /* that were launched */
    int64_t jobs;                    /* that they ran */
    int64_t vm_ms;                   /* from launch to end */
    int64_t vcpu_ms;
    int64_t mib_s;
    int64_t unsized_ms; /* the part of vm_ms whose vCPUs and memory were not known */
    int64_t queue_ms;   /* that the jobs waited for their runner */
    int64_t
        job_minutes; /* each job's, rounded up to a whole minute as GitHub bills its own runners */
};

struct ledger_vm_size {
    int64_t milli_vcpus; /* both 0: unknown */
    int64_t mib;
};
typedef int ledger_vm_size_fn(void *arg, const struct ledger_vm *vm, struct ledger_vm_size *out,
                              struct err *e);

/* Adds one VM that is gone, and its job (NULL: unknown). False, without a change, if it never started. */
bool ledger_total_add_vm(struct ledger_total *total, const struct ledger_vm *vm,
                         const struct ledger_job *job, const struct ledger_vm_size *size);
void ledger_total_add(struct ledger_total *total, const struct ledger_total *more);

struct ledger_totals_step {
    int64_t counted; /* VMs that were added */
    int64_t other;   /* of them, to LEDGER_TOTAL_OTHER since their day was full */
    bool more;       /* call again */
};
/* Adds the next batch of VMs that became gone before now_ms (ledger_now_ms) and the lag. A failure leaves
 * the batch to the next call. */
MUST_CHECK int ledger_totals_count(struct ledger *l, int64_t now_ms, ledger_vm_size_fn *size,
                                   void *arg, struct ledger_totals_step *out, struct err *e);
/* Up to when VMs are counted, by the store's clock; 0: none yet. */
MUST_CHECK int ledger_totals_until(struct ledger *l, int64_t *out_ms, struct err *e);

struct ledger_total_day {
    char name[LEDGER_DAY_SIZE];
    int64_t totals; /* rows that it has, without LEDGER_TOTAL_OTHER */
};
void ledger_total_day_of(int64_t wall_ms, char out[LEDGER_DAY_SIZE]);
/* The days that have totals, the oldest first. *out: owned, free(). */
MUST_CHECK int ledger_total_days(struct ledger *l, struct ledger_total_day **out, size_t *n,
                                 struct err *e);
/* The totals of one day, in no particular order. *out: owned, free(). */
MUST_CHECK int ledger_totals_of(struct ledger *l, const char *day, struct ledger_total **out,
                                size_t *n, struct err *e);
/* Deletes the days that are more than LEDGER_TOTAL_DAYS old, at most about `max` totals a call. *removed: of
 * them. */
MUST_CHECK int ledger_totals_tidy(struct ledger *l, int64_t now_ms, size_t max, int64_t *removed,
                                  struct err *e);

#endif
