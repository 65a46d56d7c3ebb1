#include "common/program/process_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/base/slice.h"
#include "common/base/version.h"

/* "0.1.0 (c089517f0a12)": the commit is empty where it is not known. */
static void export_build(void)
{
    char version[32];
    char commit[48];
    struct slice first;
    struct slice rest;
    struct buf labels;
    if (!slice_cut(slice_of(mayfly_version), ' ', &first, &rest)) {
        rest = SLICE("()");
    }
    struct slice inside = {rest.ptr + 1, rest.len - 2};
    if (!slice_to_cstr(first, version, sizeof version) ||
        !slice_to_cstr(inside, commit, sizeof commit)) {
        return;
    }
    buf_init(&labels, 128);
    metrics_label(&labels, "version", version);
    metrics_label(&labels, "commit", commit);
    metric_set(metrics_gauge("mayfly_build_info", labels.data), 1);
    buf_fini(&labels);
}

void process_metrics_begin(void)
{
    struct rlimit files;
    export_build();
    metric_set_thousandths(metrics_gauge("process_start_time_seconds", ""), clock_wall_ms());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        metric_set(metrics_gauge("process_max_fds", ""), (int64_t)files.rlim_cur);
    }
}

static void export_processor_time(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) == 0) {
        int64_t us = ((int64_t)u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000;
        us += (int64_t)u.ru_utime.tv_usec + u.ru_stime.tv_usec;
        metric_set_thousandths(metrics_counter("process_cpu_seconds_total", ""), us / 1000);
    }
}

/* proc(5), statm: the first two numbers are the sizes in pages, of all and of what is resident. */
static void export_memory(void)
{
    char text[128];
    int64_t pages;
    int64_t resident;
    struct slice first;
    struct slice second;
    struct slice rest;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (n > 0 && slice_cut((struct slice){text, (size_t)n}, ' ', &first, &rest) &&
        slice_cut(rest, ' ', &second, &rest) && slice_to_int64(first, &pages) &&
        slice_to_int64(second, &resident)) {
        int64_t page = sysconf(_SC_PAGESIZE);
        metric_set(metrics_gauge("process_virtual_memory_bytes", ""), pages * page);
        metric_set(metrics_gauge("process_resident_memory_bytes", ""), resident * page);
    }
}

static void export_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int64_t open = -1; /* its own */
    if (d == NULL) {
        return;
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        open += e->d_name[0] != '.' ? 1 : 0;
    }
    (void)closedir(d);
    metric_set(metrics_gauge("process_open_fds", ""), open);
}

void process_metrics_refresh(void)
{
    export_processor_time();
    export_memory();
    export_descriptors();
}
