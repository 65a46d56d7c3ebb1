/*
 * A scripted world for the reaper: rows of the ledger, machines of a provider, runners and jobs of
 * GitHub, as plain arrays that a test fills and looks at. world.c answers the reaper's calls from
 * them.
 */
#ifndef MAYFLY_TESTS_REAPER_WORLD_H
#define MAYFLY_TESTS_REAPER_WORLD_H

#include "reaper/reaper.h"

#define WORLD_MAX 32

struct world {
    struct ledger_vm vms[WORLD_MAX];
    size_t vm_count;
    struct vm_info machines[WORLD_MAX];
    size_t machine_count;
    bool machines_told; /* false: vm_list fails */
    struct github_runner runners[WORLD_MAX];
    size_t runner_count;
    struct ledger_job jobs[WORLD_MAX];
    size_t job_count;
    struct github_job github_jobs[WORLD_MAX]; /* by the same index as jobs */
    int64_t demand;
    int64_t supply;
    bool in_queue; /* queue_find finds a launch message */
    bool lease_is_ours;
    bool ledger_fails_on_list;
    int messages_put;
    int records_deleted;
    int terminated; /* strays, by vm_terminate */
    char last_end_reason[96];
    int ended; /* rows, by fleet_end_vm */
    int64_t settled_to;
    int forgotten;
};

extern struct world world;

/* Empty, the lease is ours, the provider answers. */
void world_reset(void);
struct ledger_vm *world_add_vm(const char *name, enum ledger_vm_state state, int64_t age_ms);
struct vm_info *world_add_machine(const char *name, enum vm_run_state state);
struct github_runner *world_add_runner(const char *name, bool online, bool busy);
struct ledger_job *world_add_job(int64_t id, const char *github_status);

#endif
