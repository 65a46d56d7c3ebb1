/*
 * Signs: what a sweep saw against a VM, a machine or a registration, with the time at which it was
 * first seen. A sign that is not evidence by itself (invariant 9) is confirmed when a later sweep
 * sees it again, `confirm_after_ms` after the first time or more, and every complete look in
 * between saw it too.
 *
 *   seen        (kind, source, subject) is entered with its time, or is there already
 *   unsure      a look that could not tell about this subject: it stays as it is
 *   look ended  a complete look at (kind, source): what it did not see is forgotten
 *
 * A source is what is looked at as a whole: the machines of a class, the runners of a scope. A look
 * that failed is not ended, so it neither confirms nor forgets.
 *
 * The table is memory of this process, for the time that it holds one lease: if another process
 * held that in between, all is forgotten, since nobody knows what was to be seen meanwhile. One
 * lease, one table, one thread.
 *
 * At most SIGNS_MAX are remembered. When the table is full, a new sign takes the place of the one
 * that was seen least recently if that was twice confirm_after_ms ago or longer (its
 * source is gone, or has not answered for long); otherwise the new one is not remembered, and is a
 * first sign again in the next sweep. Those in the table are confirmed and acted upon meanwhile,
 * which makes room.
 */
#ifndef MAYFLY_REAPER_SIGNS_H
#define MAYFLY_REAPER_SIGNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIGNS_MAX 4096

enum sign_kind {
    SIGN_VM_VANISHED,        /* a row whose machine is not listed */
    SIGN_LAUNCH_UNFINISHED,  /* a launch that was never recorded */
    SIGN_RUNNER_OFFLINE,     /* a VM whose runner never came up */
    SIGN_LAUNCH_UNCONFIRMED, /* a row whose machine nobody can name, and no machine fits */
    SIGN_ORPHAN_VM,          /* a machine without a row */
    SIGN_STALE_RUNNER,       /* a registration without a VM */
};

struct sign_of {
    enum sign_kind kind;
    const char *source;  /* at most 143 bytes */
    const char *subject; /* at most 191 bytes */
};

struct sign;

struct signs {
    int64_t fence; /* of the lease that all was seen under; 0: none yet */
    int64_t sweep; /* counts the sweeps */
    struct sign *list;
    size_t count;
};

void signs_fini(struct signs *t);

/* Begins a sweep under a lease of that fence. */
void signs_begin(struct signs *t, int64_t fence);

/* Notes the sign at now_ms (monotonic); whether it is confirmed. */
bool signs_see(struct signs *t, const struct sign_of *of, int64_t now_ms, int64_t confirm_after_ms);

/* This sweep cannot tell: the sign stays if it is there. */
void signs_unsure(struct signs *t, const struct sign_of *of);

/* Forgets what this sweep's complete look at that source did not see. */
void signs_look_ended(struct signs *t, enum sign_kind kind, const char *source);

#endif
