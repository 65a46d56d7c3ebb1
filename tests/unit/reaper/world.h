/*
 * A world for the reaper: a queue and a ledger in memory, the VMs of two providers
 * (tests/lib/scripted_vms.h), and GitHub (tests/lib/scripted_github.h), which a test fills and
 * looks at. The fleet is the real one.
 *
 * There are two of everything: two classes (small, whose VMs are bound to a host, and large,
 * whose VMs tell no name), two hosts (this one, there), two scopes (acme, other). A VM's
 * id is never its name, and no number is another's. A call with a wrong argument finds nothing, and
 * what was done is recorded with its arguments (tests/lib/calls.h).
 *
 * Time is the world's own: it stands still but for world_pass() and for the reaper's sleeps, which
 * pass at once (the test links with --wrap=wakeup_sleep and --wrap=clock_gettime). Any call can fail,
 * and a test can let something happen right before the n-th call of a kind is answered: a freeze,
 * or a change of the world at the moment of the second look.
 */
#ifndef MAYFLY_TESTS_REAPER_WORLD_H
#define MAYFLY_TESTS_REAPER_WORLD_H

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/programs.h"
#include "reaper/reaper.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/scripted_github.h"
#include "tests/lib/scripted_vms.h"

#define SECOND_MS 1000LL
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)

/* The configuration of each test file, of settings other than the classes, and one or both of them:
 * WORLD_CONFIG("\"reaper\": {…}", WORLD_SMALL("\"max_vms\": 4") ", " WORLD_LARGE("…")). */
#define WORLD_CONFIG(settings, classes)                                                            \
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","             \
    " \"github\": {\"token\": \"x\"}, " settings ", \"classes\": [" classes "]}"
#define WORLD_SMALL(more)                                                                          \
    "{\"name\": \"small\", \"labels\": [\"self-hosted\"], \"provider\": \"qemu\","                 \
    " \"qemu\": {\"image\": \"/none\"}, " more "}"
#define WORLD_LARGE(more)                                                                          \
    "{\"name\": \"large\", \"labels\": [\"large\"], \"provider\": \"lambda\", \"lambda\":"         \
    " {\"image\": \"arn:aws:lambda:us-east-1:123456789012:microvm-image:ci\"}, " more "}"
/* One that acts on second signs after 10 ms, and whose other times are all different. */
#define WORLD_TWO_CLASSES                                                                          \
    WORLD_CONFIG("\"worker\": {\"visibility_timeout\": \"2m\"}, \"reaper\": "                      \
                 "{\"vm_list_interval\": \"0s\", \"stale_runner_scan_interval\": \"10ms\","        \
                 " \"confirm_after\": \"10ms\", \"startup_timeout\": \"5m\","                      \
                 " \"deadline_grace_period\": \"1s\", \"terminate_timeout\": \"20s\", "            \
                 "\"retention\": \"7h\","                                                          \
                 " \"log_retention\": \"5h\"}",                                                    \
                 WORLD_SMALL("\"max_vms\": 4, \"max_duration\": \"1h\"") ", " WORLD_LARGE(         \
                     "\"max_vms\": 4, \"max_duration\": \"2h\""))
extern const char world_config[];

#define WORLD_BEGAN_MS 1800000000000

struct world {
    int64_t now_ms;
    int64_t boot_extra_ms; /* time that only the boot clock saw: suspend */
    char url[32];          /* of the ledger, for memory_rows.h */
    struct ledger *ledger;
    struct queue *queue;
    bool queue_cannot_find; /* QUEUE_FIND is none of the queue's capabilities */
    bool queue_estimates;   /* its depths */
    size_t repair_suspects; /* what ledger_repair says: a count that was corrected, and so many */
    struct ledger_program self; /* the heartbeat of a reaper with a presence */
    int vms;                    /* rows that were added */
};

extern struct world world;
extern struct reaper reaper; /* of world_begin */

/* A world that is empty, and the reaper of that configuration in it. */
void world_begin(const char *config_text);
/* One more reaper in the same world, which world_close_reaper ends. */
void world_add_reaper(struct reaper *r, const char *config_text, const char *holder);
void world_close_reaper(struct reaper *r);
void world_end(void);
/* The same for cmocka, with the file's configuration. */
int world_set_up(void **state);
int world_tear_down(void **state);
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
/* A world like a new one, for a test that goes through several. */
void world_anew(void);

void world_pass(int64_t ms);
/* So many sweeps, and so much time after each. */
void world_sweep(int times, int64_t apart_ms);
/* The same, 10 ms apart. */
void sweep_times(int times);

/* What a task of that name did and how often it failed; over the whole process. */
int64_t world_task_done(const char *task);
int64_t world_task_errors(const char *task);

/* The ledger is complete: it was neither emptied nor lost. */
void world_set_recovered(void);

/* --- what happens --- */
/* Each call of that function whose arguments contain `with` (NULL: each) fails so, until world_heal
 * takes that back, and all other plans. */
void world_fail(const char *function, const char *with, enum err_class class);
void world_heal(void);
/* Right before the at-th such call from now is answered. */
void world_happens(const char *function, const char *with, int at, void (*event)(void));

/* --- leases: "sweep", and world_host_lease() for this host's --- */
const char *world_host_lease(void);
/* Whoever holds it, another reaper has it from now on, and keeps it. */
void world_take_lease(const char *name);
void world_take_leases(void);
/* The other one gives back all it has. */
void world_give_leases_back(void);

/* The heartbeat of a program on a host with VMs of its own, of this moment. */
void world_beat(const char *id);

/* The time up to which GitHub's log of deliveries was read. */
int64_t world_mark(void);
void world_set_mark(int64_t ms);

/* --- the queue --- */
/* Puts n messages with that key on the queue, as somebody else. */
void world_add_messages(const char *lane, enum queue_place place, const char *key, int n);
/* Some that are leased, and some that are dead, are there from the beginning; this leaves none. */
void world_empty_queue(void);
/* How many messages the reaper has put, and the "lane", "key", "group" or "body" of one, from 0.
 * Valid until the next call. */
int world_puts(void);
const char *world_put(int i, const char *field);
/* How many of these are about that job. */
int world_puts_for(int64_t job_id);

/* --- rows and VMs --- */
struct ledger_vm *world_add_vm(const char *name, enum ledger_vm_state state, int64_t age_ms);
/* Of the other class. */
struct ledger_vm *world_add_large_vm(const char *name, enum ledger_vm_state state, int64_t age_ms);
/* The same, launched and never answered, and `ending` ever since. */
struct ledger_vm *world_add_unanswered(const char *name, int64_t age_ms);
/* A row, older than startup_timeout, whose VM the provider does not list, and whose runner is
 * offline and idle: its absence alone decides. */
struct ledger_vm *world_add_missing(const char *name, enum ledger_vm_state state);
/* The runner of that row, in its scope. */
struct github_runner *world_add_runner_of(const struct ledger_vm *vm, bool online, bool busy);
/* As a step of the ledger would: with the time of it. */
void world_move(struct ledger_vm *vm, enum ledger_vm_state to);
/* Its id is id-<name>. */
struct vm_info *world_list_vm(const char *name, enum vm_run_state state);
/* One of the other class, whose VMs carry no name. */
struct vm_info *world_add_large_machine(const char *name, enum vm_run_state state);
/* A row and its running VM. */
struct ledger_vm *world_add_running(const char *name, enum ledger_vm_state state, int64_t age_ms);
/* A job that waits since an hour ago, and what GitHub says of it. */
struct ledger_job *world_add_job(int64_t id, const char *github_status);
/* VMs of that scope that were launched a second ago; the last one. */
struct ledger_vm *world_add_supply(const char *scope, int n);
/* Jobs that wait since now, not yet checked at GitHub. */
void world_add_demand(const char *scope, int64_t n);

/* How many VMs the reaper has ended. */
int world_ended(void);
/* Nothing was ended, deleted or forgotten, and it was not tried. */
void world_assert_nothing_ended(void);

#endif
