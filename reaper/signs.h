/*
 * Signs: what a sweep saw against a row, a VM or a registration, with the time of the first
 * observation. A sign that is not evidence by itself (invariant 9) is confirmed when a later sweep
 * sees it again, `confirm_after_ms` after the first time or more, and every complete scan in
 * between saw it too.
 *
 *   seen        (kind, source, subject) is entered with its time, or is there already
 *   unsure      a scan that could not decide about this subject: the sign stays as it is
 *   scan ended  a complete scan of (kind, source): what it did not see is forgotten
 *
 * A source is what is scanned as a whole: the VMs of a class, the runners of a scope. A scan that
 * failed has not ended, so it neither confirms nor forgets.
 *
 * The table lives in this process, for as long as it holds one lease: if another process held the
 * lease in between, all signs are forgotten, since observations in between are unknown. One lease,
 * one table, one thread.
 *
 * At most SIGNS_MAX are kept. In a full table a new sign replaces the one that was seen least
 * recently, if that was at least twice confirm_after_ms ago (its source is gone or has failed for
 * long); otherwise the new one is dropped and is a first sign again in the next sweep. The signs in
 * the table are confirmed and acted upon meanwhile, which frees places.
 */
#ifndef MAYFLY_REAPER_SIGNS_H
#define MAYFLY_REAPER_SIGNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIGNS_MAX 4096

enum sign_kind {
    SIGN_VM_VANISHED,       /* a row whose VM is not listed, and which the provider does not find */
    SIGN_LAUNCH_UNFINISHED, /* a launch that was never recorded */
    SIGN_RUNNER_OFFLINE,    /* a VM whose runner is listed offline and without a job */
    SIGN_RUNNER_ABANDONED,  /* the same, after idle_timeout */
    SIGN_RUNNER_GONE,       /* a VM whose runner a complete list does not name */
    SIGN_LAUNCH_UNCONFIRMED, /* a row whose VM id is unknown, and no listed VM may be its own */
    SIGN_ORPHAN_VM,          /* a VM without a row */
    SIGN_STALE_RUNNER,       /* a registration without a VM */
    SIGN_WITHOUT_RUNNER,     /* a VM without a row, of whose class no such runner is registered */
    SIGN_IMAGE_FAILED,       /* a VM that ended without a job, and whose image is tried */
    SIGN_OVERDUE,            /* a job that waits too long, and could be launched */
    SIGN_HELD,               /* a VM that the brake holds (brake.c); its source is a target */
};

struct sign_of {
    enum sign_kind kind;
    const char *source;  /* at most 143 bytes */
    const char *subject; /* at most 191 bytes */
};

struct sign;

struct signs {
    int64_t fence; /* of the lease that covers all signs; 0: none yet */
    int64_t sweep; /* counts the sweeps */
    struct sign *list;
    size_t count;
};

void signs_fini(struct signs *t);

/* Begins a sweep under a lease of that fence. */
void signs_begin(struct signs *t, int64_t fence);

/* Records the sign at now_ms (monotonic). Returns whether it is confirmed. */
bool signs_see(struct signs *t, const struct sign_of *of, int64_t now_ms, int64_t confirm_after_ms);

/* Whether the sign is there, and too young to be confirmed now. */
bool signs_young(struct signs *t, const struct sign_of *of, int64_t now_ms,
                 int64_t confirm_after_ms);

/* Whether any sign of that kind and source is there. */
bool signs_any(const struct signs *t, enum sign_kind kind, const char *source);

/* This sweep could not decide: the sign stays if it is there. */
void signs_unsure(struct signs *t, const struct sign_of *of);

/* Forgets what this sweep's complete scan of that source did not see. */
void signs_scan_ended(struct signs *t, enum sign_kind kind, const char *source);

#endif
