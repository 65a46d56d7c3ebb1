/*
 * What an error is about (invariant 7), and the names of the subjects that one launch depends on.
 *
 * Each kind but the last three has circuits (circuits.h), named "<kind>:<name>"; all processes
 * share them. What only one host sees (its proxy, its DNS, its credentials, its VMs) has the host in
 * its name. The ledger and the queue need no circuit: without them nothing is received.
 */
#ifndef MAYFLY_FLEET_SUBJECT_H
#define MAYFLY_FLEET_SUBJECT_H

#include <stdbool.h>

#include "common/github/github.h"
#include "common/ledger/ledger.h"
#include "common/vm/vm.h"

enum subject {
    SUBJECT_REPOSITORY,
    SUBJECT_GROUP,  /* of runners */
    SUBJECT_LABELS, /* of a class, as the runners of one owner have them */
    SUBJECT_INSTALLATION,
    SUBJECT_GITHUB,
    SUBJECT_GITHUB_HERE, /* its name, as this host resolves it */
    SUBJECT_CREDENTIALS, /* of the App or token, as this host has them */
    SUBJECT_PROXY,
    SUBJECT_CLASS,
    SUBJECT_TARGET,      /* account and region of a provider */
    SUBJECT_TARGET_HERE, /* its name, as this host resolves it */
    SUBJECT_HOST,
    SUBJECT_CIRCUITS, /* the number of kinds that have circuits */
    SUBJECT_LEDGER = SUBJECT_CIRCUITS,
    SUBJECT_QUEUE,
    SUBJECT_JOB,
};

const char *subject_kind(enum subject s); /* "repository", …; a static string */
/* The next wider subject; SUBJECT_JOB: there is none. */
enum subject subject_parent(enum subject s);
/* That subject as this host alone sees it, or itself. */
enum subject subject_here(enum subject s);

#define SUBJECT_BIT(s) (1u << (s))
#define SUBJECTS_OF_GITHUB                                                                         \
    (SUBJECT_BIT(SUBJECT_REPOSITORY) | SUBJECT_BIT(SUBJECT_GROUP) | SUBJECT_BIT(SUBJECT_LABELS) |  \
     SUBJECT_BIT(SUBJECT_INSTALLATION) | SUBJECT_BIT(SUBJECT_GITHUB) |                             \
     SUBJECT_BIT(SUBJECT_GITHUB_HERE) | SUBJECT_BIT(SUBJECT_CREDENTIALS))
#define SUBJECTS_OF_TARGET (SUBJECT_BIT(SUBJECT_TARGET) | SUBJECT_BIT(SUBJECT_TARGET_HERE))
#define SUBJECTS_OF_PROVIDER                                                                       \
    (SUBJECT_BIT(SUBJECT_CLASS) | SUBJECTS_OF_TARGET | SUBJECT_BIT(SUBJECT_HOST))

/* While one of these is in trouble, no launch of the class begins on this host. */
#define SUBJECTS_OF_LANE                                                                           \
    (SUBJECTS_OF_PROVIDER | SUBJECT_BIT(SUBJECT_GITHUB) | SUBJECT_BIT(SUBJECT_GITHUB_HERE) |       \
     SUBJECT_BIT(SUBJECT_CREDENTIALS) | SUBJECT_BIT(SUBJECT_PROXY))

/* By kind; "": it does not apply. */
struct subjects {
    char names[SUBJECT_CIRCUITS][LEDGER_CELL_NAME];
};

/* What every call to GitHub from this host depends on. */
void subjects_of_github(const char *host, struct subjects *out);
/* What every launch of the class depends on. */
void subjects_of_class(const struct config_class *class, const struct vm_provider *p,
                       const char *host, struct subjects *out);
void subjects_add_target(const struct vm_provider *p, const char *host, struct subjects *out);
void subjects_add_host(const char *host, struct subjects *out);
/* Of the owner of that scope. */
void subjects_add_installation(const struct github_scope *scope, struct subjects *out);
/* Adds what a registration in that scope and group depends on, for a job of that class and
 * repository ("": none). */
void subjects_add_scope(const struct github_scope *scope, const struct config_class *class,
                        const char *group, const char *repository, struct subjects *out);

#endif
