#include "common/vm/qemu/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/vm/launcher.h"
#include "common/vm/qemu/args.h"
#include "common/vm/qemu/control.h"
#include "common/vm/qemu/exec.h"
#include "common/vm/qemu/state.h"

#define LAUNCH_MAX 262144
#define SUPERVISOR_ANSWER_MS 15000
#define LEAVE_MS 2000
#define KILL_MS 5000

/* NULL when a word is no valid UTF-8. */
static json_t *json_words(char *const *words)
{
    json_t *list = json_array();
    for (size_t i = 0; words[i] != NULL; i++) {
        if (json_array_append_new(list, json_string(words[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

int qemu_launch_write(const char *dir, const struct qemu_launch *launch, struct err *e)
{
    char path[PATH_MAX];
    json_t *tree = json_pack(
        "{s:i,s:o,s:o,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:b,s:b}", "version",
        QEMU_RECORD_VERSION, "argv", json_words(launch->argv), "gateway",
        json_words(launch->gateway), "files", json_words(launch->files), "cgroup", launch->cgroup,
        "console_limit_bytes", (json_int_t)launch->console_limit_bytes, "max_duration_ms",
        (json_int_t)launch->max_duration_ms, "start_ms", (json_int_t)launch->start_ms, "cpus",
        (json_int_t)launch->cpus, "memory_limit_bytes", (json_int_t)launch->memory_limit_bytes,
        "address_limit_bytes", (json_int_t)launch->address_limit_bytes, "file_limit_bytes",
        (json_int_t)launch->file_limit_bytes, "confine", (int)launch->confine, "shell",
        (int)launch->shell, "keep_run", (int)launch->keep_run);
    if (tree == NULL) {
        return err_set(e, ERR_PERMANENT, 0, "a path or an option of the VM is no valid UTF-8");
    }
    char *text = json_dumps(tree, JSON_INDENT(1));
    json_decref(tree);
    ASSERT(text != NULL);
    int rc = fs_write_atomic(qemu_path(path, dir, "launch.json"), slice_of(text), 0600, e);
    free(text);
    return rc;
}

static char *launch_text(const json_t *tree, const char *key)
{
    const char *value = json_string_value(json_object_get(tree, key));
    return slice_dup(slice_of(value));
}

static char **launch_words(const json_t *tree, const char *key)
{
    const json_t *list = json_object_get(tree, key);
    size_t count = json_array_size(list);
    char **words = calloc(count + 1, sizeof *words);
    ASSERT(words != NULL);
    for (size_t i = 0; i < count; i++) {
        words[i] = slice_dup(slice_of(json_string_value(json_array_get(list, i))));
    }
    return words;
}

static int64_t launch_number(const json_t *tree, const char *key)
{
    return json_integer_value(json_object_get(tree, key));
}

int qemu_launch_read(const char *dir, struct qemu_launch *out, struct err *e)
{
    char path[PATH_MAX];
    struct buf text;
    buf_init(&text, LAUNCH_MAX);
    if (fs_read(qemu_path(path, dir, "launch.json"), &text, e) != 0) {
        buf_fini(&text);
        return -1;
    }
    json_t *tree = json_loadb(text.data, text.len, 0, NULL);
    buf_fini(&text);
    if (launch_number(tree, "version") != QEMU_RECORD_VERSION ||
        json_array_size(json_object_get(tree, "argv")) == 0 ||
        json_array_size(json_object_get(tree, "gateway")) == 0) {
        json_decref(tree);
        return err_set(e, ERR_PERMANENT, 0, "%s is damaged or of another version of Mayfly", path);
    }
    *out = (struct qemu_launch){
        .argv = launch_words(tree, "argv"),
        .gateway = launch_words(tree, "gateway"),
        .files = launch_words(tree, "files"),
        .cgroup = launch_text(tree, "cgroup"),
        .console_limit_bytes = launch_number(tree, "console_limit_bytes"),
        .max_duration_ms = launch_number(tree, "max_duration_ms"),
        .start_ms = launch_number(tree, "start_ms"),
        .cpus = launch_number(tree, "cpus"),
        .memory_limit_bytes = launch_number(tree, "memory_limit_bytes"),
        .address_limit_bytes = launch_number(tree, "address_limit_bytes"),
        .file_limit_bytes = launch_number(tree, "file_limit_bytes"),
        .confine = json_is_true(json_object_get(tree, "confine")),
        .shell = json_is_true(json_object_get(tree, "shell")),
        .keep_run = json_is_true(json_object_get(tree, "keep_run")),
    };
    json_decref(tree);
    return 0;
}

void qemu_launch_fini(struct qemu_launch *launch)
{
    qemu_args_free(launch->argv);
    qemu_args_free(launch->gateway);
    qemu_args_free(launch->files);
    free(launch->cgroup);
    *launch = (struct qemu_launch){0};
}

static int start_directly(const char *supervisor, const char *dir, struct buf *out, struct err *e)
{
    const char *argv[] = {supervisor, "run", dir, NULL};
    return exec_capture(argv, SUPERVISOR_ANSWER_MS, out, e);
}

static int start_by_launcher(const char *dir, struct buf *out, struct err *e)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot make a pipe to the supervisor of %s", dir);
    }
    int rc = vm_launcher_start(dir, fds[1], e);
    close(fds[1]);
    if (rc == 0 && !exec_read_output(fds[0], clock_mono_ms() + SUPERVISOR_ANSWER_MS, out)) {
        rc = err_set(e, ERR_RETRY, ETIMEDOUT, "the supervisor of %s did not respond within %d s",
                     dir, SUPERVISOR_ANSWER_MS / 1000);
    }
    close(fds[0]);
    return rc;
}

int qemu_supervisor_start(const char *supervisor, const char *dir, struct err *e)
{
    struct buf said;
    buf_init(&said, 4096);
    int rc = vm_launcher_present() ? start_by_launcher(dir, &said, e)
                                   : start_directly(supervisor, dir, &said, e);
    struct slice answer = slice_trim(buf_slice(&said));
    if (rc == 0 && !slice_eq_cstr(answer, "OK")) {
        if (slice_starts_with(answer, SLICE("ERR "))) {
            answer.ptr += 4;
            answer.len -= 4;
        }
        rc = err_set(e, ERR_RETRY, 0, "the VM could not be started: %.*s", SLICE_ARG(answer));
    }
    buf_fini(&said);
    return rc;
}

bool qemu_supervisor_alive(const char *dir, const struct qemu_process_record *process)
{
    return proc_id_alive(&process->supervisor) || qemu_control_listens(dir);
}

void qemu_cgroup_remove(const char *dir)
{
    static const char *const parts[] = {"vm", "supervisor", "."};
    char path[PATH_MAX];
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        (void)rmdir(strcmp(parts[i], ".") == 0 ? dir : qemu_path(path, dir, parts[i]));
    }
}

/* --- ending ---------------------------------------------------------------------------------- */

/* The record was written by the VM's own user: what it says is no reason to kill another group than
 * the one of this VM's name. */
static bool is_group_of(const char *cgroup, const char *dir, char *real)
{
    struct statfs fs;
    const char *vm = strrchr(dir, '/');
    const char *name = realpath(cgroup, real) == NULL ? NULL : strrchr(real, '/');
    return vm != NULL && name != NULL && slice_starts_with(slice_of(name), SLICE("/mayfly-")) &&
           strcmp(name + 8, vm + 1) == 0 && statfs(real, &fs) == 0 &&
           fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* cgroup.kill (cgroups(7), Linux 5.14) belongs to the user that the group is delegated to. */
static bool kill_group(const char *cgroup, const char *dir)
{
    char real[PATH_MAX];
    char path[PATH_MAX];
    int fd = *cgroup != '\0' && is_group_of(cgroup, dir, real)
                 ? open(qemu_path(path, real, "cgroup.kill"), O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
                 : -1;
    bool killed = fd >= 0 && write(fd, "1", 1) == 1;
    if (fd >= 0) {
        close(fd);
    }
    return killed;
}

/* A pid in a record that another user wrote could be any process's. */
static bool is_own_record(const char *dir)
{
    char path[PATH_MAX];
    struct stat st;
    return lstat(qemu_path(path, dir, "process.json"), &st) == 0 && st.st_uid == geteuid();
}

/* QEMU follows its supervisor at once (PR_SET_PDEATHSIG), so there is rarely anything to do. What a
 * supervisor that was stopped leaves running is not in a group that can be killed where none is
 * delegated: only then, and only its own user, signals a VM's process from outside. */
static int end_process(const struct proc_id *id, const char *dir, int64_t wait_ms, struct err *e)
{
    int fd = proc_id_open(id);
    if (fd < 0) {
        return 0;
    }
    bool ended = proc_wait(fd, clock_mono_ms() + wait_ms);
    if (!ended && is_own_record(dir) && pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0) {
        ended = proc_wait(fd, clock_mono_ms() + KILL_MS);
    }
    close(fd);
    return ended ? 0
                 : err_set(e, ERR_RETRY, ETIMEDOUT,
                           "process %d of the VM in %s does not end, and this program may not kill "
                           "it: the worker does, or its user",
                           (int)id->pid, dir);
}

/* As that of a worker in another container: only its socket shows that it is there. */
static bool is_out_of_sight(const char *dir, const struct qemu_process_record *process)
{
    return !proc_id_alive(&process->supervisor) && qemu_control_listens(dir);
}

int qemu_supervisor_stop(const char *dir, int64_t grace_ms, struct err *e)
{
    struct qemu_process_record process;
    struct err ignored;
    char real[PATH_MAX];
    int rc = qemu_control_end(dir, grace_ms, "terminated", e);
    if (rc != 0 && e->code != ETIMEDOUT) {
        return -1;
    }
    if (qemu_process_record_read(dir, &process, &ignored) != 0) {
        return rc;
    }
    bool killed = rc != 0 && kill_group(process.cgroup, dir);
    if (rc != 0 && !killed && is_out_of_sight(dir, &process)) {
        return err_set(e, ERR_RETRY, ETIMEDOUT,
                       "the VM in %s does not end, and this program does not see its processes, "
                       "which are in another container or of another user: the worker ends it",
                       dir);
    }
    int64_t wait_ms = rc == 0 || killed ? LEAVE_MS : 0;
    if (end_process(&process.supervisor, dir, wait_ms, e) != 0 ||
        end_process(&process.qemu, dir, LEAVE_MS, e) != 0) {
        return -1;
    }
    if (process.cgroup[0] != '\0' && is_group_of(process.cgroup, dir, real)) {
        qemu_cgroup_remove(real);
    }
    return 0;
}
