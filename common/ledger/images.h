/*
 * Which version of its image a class launches: a cell each, by the class's name.
 *
 * `good` is the version that launches use. A new one begins as the canary: it gets some launches of its
 * class until a rule decides.
 *
 *   it becomes good      after IMAGE_CANARY_JOBS jobs: a runner of it took the job, and GitHub reported the
 *                        job completed, whatever its conclusion
 *   it is rejected       at IMAGE_CANARY_FAILURES VMs that failed beyond twice what the good version's rate lets
 *                        expect of as many VMs: trouble that all VMs have says nothing about an image
 *
 * The good version's rate is that of a control group: as many VMs as the canary's, launched beside them
 * (class_images.h). So whoever fails VMs without knowing which are the canary's moves both rates alike, and to
 * keep a canary that always fails from being rejected must fail half of the class's VMs. A job knows which
 * version it runs on, but a VM that had a job never counts as failed, whatever the job does to it.
 *
 * A VM failed when the provider refused its launch for what it is, or when it ended, or its runner stayed
 * offline, without having had a job. Jobs and failures count in the step that moves the VM's row to `ending`
 * (ledger.h), so that each VM counts once, whatever crashes. A rejected version is not tried again, as
 * long as it is among the last IMAGE_REJECTED_MAX. Pure functions on a plain value, but for the four that
 * read or write the cell: blocking, any thread; errors are the ledger's.
 */
#ifndef MAYFLY_LEDGER_IMAGES_H
#define MAYFLY_LEDGER_IMAGES_H

#include "common/job/vm_name.h"
#include "common/ledger/ledger.h"

#define IMAGE_CANARY_PERCENT 5
#define IMAGE_CANARY_JOBS 20
#define IMAGE_CANARY_FAILURES 3
#define IMAGE_REJECTED_MAX 8

/* What happened last, until the reaper has logged it. */
enum ledger_image_news {
    IMAGE_NO_NEWS,
    IMAGE_BEGAN,
    IMAGE_PROMOTED,
    IMAGE_REJECTED,
    IMAGE_REPLACED
};

struct ledger_image {
    char class_name[PLACE_NAME_SIZE]; /* of the place (common/job/vm_name.h) whose image it is */
    int64_t version;                  /* of the cell; 0: there is none */
    char image[256]; /* the provider's name of it; another one in the configuration begins anew */
    char good[LEDGER_IMAGE_VERSION];
    char former[LEDGER_IMAGE_VERSION]; /* good before it; "" none */
    char canary[LEDGER_IMAGE_VERSION]; /* "": none */
    int64_t good_since_ms;
    int64_t canary_since_ms;
    int64_t jobs;      /* of the canary */
    int64_t failures;  /* of the canary */
    int64_t good_jobs; /* of the control group since canary_since_ms */
    int64_t good_failures;
    char rejected[IMAGE_REJECTED_MAX][LEDGER_IMAGE_VERSION]; /* newest first; "" none */
    int64_t rejected_ms;                                     /* the newest of them */
    bool by_rule;                                            /* it was, and not by an operator */
    enum ledger_image_news news;
    char why[160]; /* of the newest rejection, or of the replacement */
};

/* A class without a cell is a success with version 0. */
MUST_CHECK int ledger_image_get(struct ledger *l, const char *class_name, struct ledger_image *out,
                                struct err *e);
/* *out: owned, free(). */
MUST_CHECK int ledger_image_list(struct ledger *l, struct ledger_image **out, size_t *n,
                                 struct err *e);
/* Writes it if the cell is as it was read (i->version), else ERR_CONFLICT. */
MUST_CHECK int ledger_image_put(struct ledger *l, const struct ledger_image *i, struct err *e);
/* Reads, changes by `change` and writes, again after a conflict. `change` returns whether there is
 * anything to write. *out: the value after it. */
typedef bool ledger_image_change_fn(struct ledger_image *i, void *arg);
MUST_CHECK int ledger_image_change(struct ledger *l, const char *class_name,
                                   ledger_image_change_fn *change, void *arg,
                                   struct ledger_image *out, struct err *e);

/* --- rules --- */
/* Begins anew with that version of that image as the good one. */
void ledger_image_begin(struct ledger_image *i, const char *image, const char *version,
                        int64_t now_ms);
bool ledger_image_is_rejected(const struct ledger_image *i, const char *version);
/* Whether that version comes after the other: "10.0" after "9.0". */
bool ledger_image_is_newer(const char *version, const char *other);
/* The version becomes the canary, in place of an older one. False, and nothing changes, unless it is newer
 * than the good one and was not rejected. */
bool ledger_image_offer(struct ledger_image *i, const char *version, int64_t now_ms);
/* The canary becomes the good one. False: there is none. */
bool ledger_image_promote(struct ledger_image *i, int64_t now_ms);
/* An operator's choice: that version is good, though it may have been rejected. */
void ledger_image_take(struct ledger_image *i, const char *version, int64_t now_ms);
/* The version is never used again: the canary, or the good one if there is one before it. False: it is
 * neither. */
bool ledger_image_reject(struct ledger_image *i, const char *version, bool by_rule, const char *why,
                         int64_t now_ms);
/* Another version is good from now on, for the former one cannot be launched any more. */
void ledger_image_replace(struct ledger_image *i, const char *version, const char *why,
                          int64_t now_ms);
/* What a VM's end says. Return whether anything changed. */
bool ledger_image_count_job(struct ledger_image *i, const struct ledger_vm *vm, int64_t now_ms);
bool ledger_image_count_failure(struct ledger_image *i, const struct ledger_vm *vm, const char *why,
                                int64_t now_ms);

/* For steps.c and cells.c: the cell's text. One that cannot be read is an empty value. */
void ledger_image_decode(const struct ledger_cell *cell, struct ledger_image *out);
void ledger_image_encode(const struct ledger_image *i, char out[LEDGER_CELL_VALUE]);

#endif
