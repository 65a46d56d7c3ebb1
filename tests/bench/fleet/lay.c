#include "tests/bench/fleet/lay.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/sqlite/store.h"
#include "tests/bench/ledger/ways.h"

struct lay_name lay_vm_name(int64_t n)
{
    struct lay_name name;
    /* The multiplier is odd, so no two are the same. */
    uint64_t spread = (uint64_t)n * 0x9e3779b97f4a7c15U & 0xffffffffffffU;
    (void)snprintf(name.text, sizeof name.text, "mf-bench-small-%012llx",
                   (unsigned long long)spread);
    return name;
}

static struct lay_name lay_model(struct ledger *l)
{
    struct err e = {0};
    struct ledger_job job;
    struct lay_name vm;
    (void)ways_go_many(l, 1, 1, LAY_MODEL);
    must(ledger_job_get(l, LAY_MODEL, &job, &e), &e);
    ASSERT(slice_to_cstr(slice_of(job.facts.runner_name), vm.text, sizeof vm.text));
    return vm;
}

/* A copy that the ledger does not count and find like any other job would measure nothing. */
static void look_over(struct ledger *l, int64_t known)
{
    struct err e = {0};
    struct ledger_job job;
    struct ledger_vm vm;
    must(ledger_job_get(l, known - 1, &job, &e), &e);
    must(ledger_vm_get(l, job.facts.runner_name, &vm, &e), &e);
    ASSERT(job.state == JOB_DONE && vm.state == VM_GONE && vm.job_id == known - 1);
    int64_t freed;
    must(ledger_release_seq(l, &freed, &e), &e);
    ASSERT(freed == known);
}

static void sync_disk(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(fd >= 0 && syncfs(fd) == 0);
    close(fd);
}

static void copy_model(const char *url, const char *model_vm, int64_t n)
{
    struct err e = {0};
    char path[4096];
    if (strncmp(url, "redis", 5) == 0) {
        lay_in_redis(url, model_vm, n);
        return;
    }
    must(sqlite_store_path(url, path, sizeof path, &e), &e);
    lay_in_sqlite(path, model_vm, n);
}

void lay_known_jobs(const char *url, const char *directory, int64_t known)
{
    struct err e = {0};
    struct ledger *l = NULL;
    must(ledger_open(url, &l, &e), &e);
    if (known > 0) {
        struct lay_name vm = lay_model(l);
        if (known > 1) {
            copy_model(url, vm.text, known - 1);
            look_over(l, known);
        }
    }
    ledger_close(l);
    sync_disk(directory);
}
