#include "common/base/thread.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Address space that must remain after a thread starts: a failed small allocation aborts the
 * program. */
#define SPARE_BYTES ((size_t)64 * 1024 * 1024)

static bool memory_is_short(void)
{
    pthread_attr_t attr;
    size_t stack = 0;
    ASSERT(pthread_attr_init(&attr) == 0 && pthread_attr_getstacksize(&attr, &stack) == 0);
    pthread_attr_destroy(&attr);
    void *probe = mmap(NULL, stack + SPARE_BYTES, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED) {
        return true;
    }
    (void)munmap(probe, stack + SPARE_BYTES);
    return false;
}

static int fail_start(const char *what, int errnum, const char *hint, struct err *e)
{
    char reason[128];
    return err_set(e, ERR_CAPACITY, errnum, "cannot start %s: %s: %s", what,
                   strerror_r(errnum, reason, sizeof reason), hint);
}

int thread_start(pthread_t *out, const char *what, thread_fn *run, void *arg, struct err *e)
{
    if (memory_is_short()) {
        return fail_start(
            what, ENOMEM,
            "configure fewer threads, or raise the limit of address space (ulimit -v, "
            "systemd LimitAS) or the host's memory",
            e);
    }
    int errnum = pthread_create(out, NULL, run, arg);
    if (errnum != 0) {
        return fail_start(
            what, errnum,
            "the limit of threads is reached: configure fewer, or raise RLIMIT_NPROC "
            "(ulimit -u, systemd LimitNPROC), the cgroup's pids.max (systemd TasksMax, "
            "docker --pids-limit) or kernel.threads-max",
            e);
    }
    return 0;
}

int threads_start(struct threads *t, size_t count, const char *what, thread_fn *run, void *arg,
                  struct err *e)
{
    t->each = calloc(count, sizeof t->each[0]);
    ASSERT(t->each != NULL || count == 0);
    while (t->count < count) {
        if (thread_start(&t->each[t->count], what, run, arg, e) != 0) {
            return -1;
        }
        t->count++;
    }
    return 0;
}

void threads_join(struct threads *t)
{
    for (size_t i = 0; i < t->count; i++) {
        ASSERT(pthread_join(t->each[i], NULL) == 0);
    }
    free(t->each);
    *t = (struct threads){0};
}
