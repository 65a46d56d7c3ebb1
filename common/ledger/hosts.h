/*
 * The hosts that run VMs themselves, by their ids (common/program/host.h): a cell each, with the host's
 * name and whether an operator has drained it. It outlives the heartbeats of the host's programs
 * (programs.h). Blocking, any thread; errors are the ledger's.
 */
#ifndef MAYFLY_LEDGER_HOSTS_H
#define MAYFLY_LEDGER_HOSTS_H

#include "common/ledger/ledger.h"

struct ledger_host {
    char id[72];
    char name[65];
    int64_t drained_ms; /* wall clock: since when it launches no VM; 0: it launches */
};

/* Without a cell: success, with name "". */
MUST_CHECK int ledger_host_get(struct ledger *l, const char *id, struct ledger_host *out,
                               struct err *e);
/* The host lives, and has this name. */
MUST_CHECK int ledger_host_seen(struct ledger *l, const char *id, const char *name, struct err *e);
/* ERR_NOT_FOUND: there is no such host. */
MUST_CHECK int ledger_host_drain(struct ledger *l, const char *id, bool drained, struct err *e);
MUST_CHECK int ledger_host_remove(struct ledger *l, const char *id, struct err *e);
/* *out: owned, free(). */
MUST_CHECK int ledger_host_list(struct ledger *l, struct ledger_host **out, size_t *n,
                                struct err *e);

#endif
