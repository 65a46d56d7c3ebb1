/*
 * One launch in progress, as the files that carry it out share it; no other file includes this:
 *
 *   launch.c        the protocol, from the received message to the recorded VM
 *   launch_place.c  at which of the class's places
 *   launch_end.c    what happens to the message
 */
#ifndef MAYFLY_WORKER_LAUNCHING_H
#define MAYFLY_WORKER_LAUNCHING_H

#include "common/fleet/places.h"
#include "worker/heartbeat.h"
#include "worker/lane.h"
#include "worker/launch.h"
#include "worker/takeover.h"

/* One launch in progress. */
struct launching {
    struct worker *worker;
    struct lane *lane;
    const struct config *config;
    const struct config_class *class;
    struct queue_message *message;
    struct heartbeat_launch heartbeat;
    struct launch_request request;
    struct github_scope scope;
    char scope_name[SCOPE_SIZE];      /* as the ledger counts it */
    const char *group;                /* of runners, where it registers */
    const struct config_class *place; /* where the VM is to run */
    size_t place_index;               /* among those of the class */
    uint64_t tried;           /* places where it failed, or found no room: bits, in their order */
    struct subjects subjects; /* what this launch depends on there */
    char holder[33];          /* of the circuits that it probes */
    const char *step;         /* the current step, or the one that failed */
    struct ledger_reservation reservation;
    struct takeover takeover; /* other workers' launches for the job, when no VM is wanted */
    struct ledger_vm vm;
    struct image_choice image;
    bool image_failed; /* the launch shows that the image's version does not work */
    struct github_jit jit;
    struct buf payload;
    struct buf console; /* the end of it, of a VM that failed to start */
    int64_t started_us;
    int64_t run_at_ms;      /* monotonic: not before */
    bool has_room;          /* of its host, which is to be used or released */
    bool vm_may_run;        /* the provider got the request and did not refuse it */
    bool lane_knows;        /* that its message has its slot, or gets none */
    struct verdict verdict; /* of the last failure, and what follows from it */
    int64_t delay_ms;
};

/* How a try at one place ended. */
enum launch_result {
    LAUNCH_DONE,
    LAUNCH_NOT_RESERVED, /* no VM is wanted, or none may be launched now: launching.reservation */
    LAUNCH_FAILED,       /* and was rolled back */
};

/* What is left of the time that a launch may take. */
int64_t launch_time_left_ms(const struct launching *l);
/* No VM is wanted for this request (any more). */
bool launch_wants_no_vm(const struct launching *l);

/* --- launch_place.c --- */

/* Finds where the VM is to run, and takes the probes of circuits that are half-open there. */
enum launch_finding {
    LAUNCH_FOUND,
    LAUNCH_STOPPED, /* a circuit stops it: *stop, of l->subjects */
    LAUNCH_HELD,    /* no place has room: l->reservation says what is missing */
    LAUNCH_UNKNOWN, /* the ledger's error */
};
enum launch_finding launch_find_place(struct launching *l, struct circuits_stop *stop,
                                      struct err *e);
/* After a try that did not end well: whether to try elsewhere, at the place that it has found. */
bool launch_go_elsewhere(struct launching *l, enum launch_result result, const struct err *why);

/* --- launch_end.c --- */

/* Returns the message unspent: a circuit is open. */
void launch_park(struct launching *l, const struct circuits_stop *stop);
/* What the failure is about, and what its circuits do: once for each failure. */
void launch_judge(struct launching *l, const struct err *why);
/* Says that it failed here and is tried at `next`. */
void launch_report_elsewhere(const struct launching *l, const struct config_class *next,
                             const struct err *why);
/* The message's end: its ack, nack or dead letter. */
void launch_close(struct launching *l, enum launch_result result, const struct err *why);

#endif
