#include "common/vm/qemu/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/fs.h"

#define RECORD_MAX 65536
#define AMOUNT_MAX (INT64_C(1) << 50) /* so that sums of them are numbers */

/* --- processes ------------------------------------------------------------------------------ */

/* Field 22 of /proc/<pid>/stat (proc(5)) is the start time; field 2, the name, may hold anything,
 * so counting starts behind its last parenthesis. Field 3 is the state. */
static bool parse_stat(const struct buf *text, char *state, int64_t *start_ticks)
{
    const char *close = strrchr(text->data, ')');
    struct slice rest;
    struct slice field = {"", 0};
    if (close == NULL) {
        return false;
    }
    rest = slice_trim(slice_of(close + 1));
    *state = rest.len > 0 ? rest.ptr[0] : 'X';
    for (int i = 3; i <= 22; i++) {
        (void)slice_cut(rest, ' ', &field, &rest);
    }
    return slice_to_int64(field, start_ticks);
}

static bool read_boot_id(char *out, size_t size)
{
    struct buf text;
    struct err e;
    buf_init(&text, 256);
    bool ok = fs_read("/proc/sys/kernel/random/boot_id", &text, &e) == 0 &&
              slice_to_cstr(slice_trim(buf_slice(&text)), out, size);
    buf_fini(&text);
    return ok;
}

bool proc_id_of(pid_t pid, struct proc_id *out)
{
    struct proc_id id = {.pid = pid};
    char path[64];
    struct buf text;
    struct err e;
    char state = 'X';

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    buf_init(&text, 8192);
    bool ok = pid > 0 && fs_read(path, &text, &e) == 0 &&
              parse_stat(&text, &state, &id.start_ticks) && state != 'Z' && state != 'X' &&
              read_boot_id(id.boot, sizeof id.boot);
    buf_fini(&text);
    if (ok) {
        *out = id;
    }
    return ok;
}

bool proc_id_alive(const struct proc_id *id)
{
    struct proc_id now;
    return proc_id_of(id->pid, &now) && now.start_ticks == id->start_ticks &&
           strcmp(now.boot, id->boot) == 0;
}

int proc_id_open(const struct proc_id *id)
{
    int fd = id->pid > 0 ? pidfd_open(id->pid, 0) : -1;
    if (fd >= 0 && !proc_id_alive(id)) {
        close(fd);
        return -1;
    }
    return fd;
}

bool proc_wait(int pidfd, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - clock_mono_ms();
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        int n = poll(&p, 1, left <= 0 ? 0 : left > 60000 ? 60000 : (int)left);
        if (n > 0) {
            return true;
        }
        if (left <= 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
    }
}

/* --- records -------------------------------------------------------------------------------- */

const char *qemu_path(char *out, const char *dir, const char *name)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= PATH_MAX) {
        out[0] = '\0';
    }
    return out;
}

static int read_record(const char *dir, const char *name, json_t **out, struct err *e)
{
    char path[PATH_MAX];
    struct buf text;
    buf_init(&text, RECORD_MAX);
    int rc = fs_read(qemu_path(path, dir, name), &text, e);
    if (rc == 0) {
        json_t *tree = json_loadb(text.data, text.len, 0, NULL);
        if (json_integer_value(json_object_get(tree, "version")) != QEMU_RECORD_VERSION) {
            json_decref(tree);
            rc =
                err_set(e, ERR_PERMANENT, 0, "%s is damaged or of another version of Mayfly", path);
        } else {
            *out = tree;
        }
    }
    buf_fini(&text);
    return rc;
}

/* Takes the tree. */
static int write_record(const char *dir, const char *name, json_t *tree, struct err *e)
{
    char path[PATH_MAX];
    ASSERT(tree != NULL);
    char *text = json_dumps(tree, JSON_INDENT(1));
    json_decref(tree);
    ASSERT(text != NULL);
    int rc = fs_write_atomic(qemu_path(path, dir, name), slice_of(text), 0644, e);
    free(text);
    return rc;
}

static void record_text(const json_t *tree, const char *key, char *out, size_t size)
{
    const char *value = json_string_value(json_object_get(tree, key));
    if (value == NULL || !slice_to_cstr(slice_of(value), out, size)) {
        out[0] = '\0';
    }
}

static int64_t record_number(const json_t *tree, const char *key)
{
    return json_integer_value(json_object_get(tree, key));
}

static int64_t record_amount(const json_t *tree, const char *key)
{
    int64_t bytes = record_number(tree, key);
    return bytes < 0 ? 0 : bytes > AMOUNT_MAX ? AMOUNT_MAX : bytes;
}

int qemu_vm_record_read(const char *dir, struct qemu_vm_record *out, struct err *e)
{
    json_t *tree;
    if (read_record(dir, "vm.json", &tree, e) != 0) {
        return -1;
    }
    *out = (struct qemu_vm_record){
        .started_ms = record_number(tree, "started_ms"),
        .most = {record_amount(tree, "memory_bytes"), record_amount(tree, "disk_bytes")}};
    record_text(tree, "name", out->name, sizeof out->name);
    record_text(tree, "token", out->token, sizeof out->token);
    record_text(tree, "image", out->image, sizeof out->image);
    record_text(tree, "mode", out->mode, sizeof out->mode);
    record_text(tree, "accel", out->accel, sizeof out->accel);
    json_decref(tree);
    return 0;
}

int qemu_vm_record_write(const char *dir, const struct qemu_vm_record *r, struct err *e)
{
    return write_record(
        dir, "vm.json",
        json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I}", "version", QEMU_RECORD_VERSION, "name",
                  r->name, "token", r->token, "image", r->image, "mode", r->mode, "accel", r->accel,
                  "started_ms", (json_int_t)r->started_ms, "memory_bytes",
                  (json_int_t)r->most.memory, "disk_bytes", (json_int_t)r->most.disk),
        e);
}

static void process_of(const json_t *tree, const char *key, struct proc_id *out)
{
    const json_t *process = json_object_get(tree, key);
    int64_t pid = record_number(process, "pid");
    *out = (struct proc_id){.pid = pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0,
                            .start_ticks = record_number(process, "start_ticks")};
    record_text(process, "boot", out->boot, sizeof out->boot);
}

int qemu_process_record_read(const char *dir, struct qemu_process_record *out, struct err *e)
{
    json_t *tree;
    if (read_record(dir, "process.json", &tree, e) != 0) {
        return -1;
    }
    process_of(tree, "supervisor", &out->supervisor);
    process_of(tree, "qemu", &out->qemu);
    record_text(tree, "cgroup", out->cgroup, sizeof out->cgroup);
    json_decref(tree);
    return 0;
}

static json_t *process_pack(const struct proc_id *id)
{
    return json_pack("{s:i,s:I,s:s}", "pid", (int)id->pid, "start_ticks",
                     (json_int_t)id->start_ticks, "boot", id->boot);
}

int qemu_process_record_write(const char *dir, const struct qemu_process_record *r, struct err *e)
{
    return write_record(dir, "process.json",
                        json_pack("{s:i,s:o,s:o,s:s}", "version", QEMU_RECORD_VERSION, "supervisor",
                                  process_pack(&r->supervisor), "qemu", process_pack(&r->qemu),
                                  "cgroup", r->cgroup),
                        e);
}

int qemu_exit_record_read(const char *dir, struct qemu_exit_record *out, struct err *e)
{
    json_t *tree;
    if (read_record(dir, "exit.json", &tree, e) != 0) {
        return -1;
    }
    out->ended_ms = record_number(tree, "ended_ms");
    out->status = (int)record_number(tree, "status");
    record_text(tree, "reason", out->reason, sizeof out->reason);
    json_decref(tree);
    return 0;
}

int qemu_exit_record_write(const char *dir, const struct qemu_exit_record *r, struct err *e)
{
    return write_record(dir, "exit.json",
                        json_pack("{s:i,s:I,s:i,s:s}", "version", QEMU_RECORD_VERSION, "ended_ms",
                                  (json_int_t)r->ended_ms, "status", r->status, "reason",
                                  r->reason),
                        e);
}

bool qemu_is_being_launched(const char *dir)
{
    char path[PATH_MAX];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(qemu_path(path, dir, "lock"), O_RDONLY | O_CLOEXEC);
    bool held = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0) {
        close(fd);
    }
    return held;
}

int qemu_mark(const char *dir, const char *name, struct err *e)
{
    char path[PATH_MAX];
    int fd = fs_create(qemu_path(path, dir, name), O_WRONLY | O_NOFOLLOW, 0644);
    int errnum = errno;
    if (fd < 0) {
        /* Another user may have set it. */
        return qemu_marked(dir, name) ? 0
                                      : err_errno(e, errnum == ENOENT ? ERR_NOT_FOUND : ERR_RETRY,
                                                  errnum, "cannot write %s/%s", dir, name);
    }
    close(fd);
    return 0;
}

bool qemu_marked(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    /* Not access(2): it judges by the real user. */
    return lstat(qemu_path(path, dir, name), &st) == 0;
}

/* --- the agent's lines ---------------------------------------------------------------------- */

static void parse_exit(struct slice line, struct qemu_agent_status *out)
{
    struct slice word;
    struct slice rest;
    size_t n = 0;
    (void)slice_cut(line, ' ', &word, &rest);
    (void)slice_cut(rest, ' ', &word, &rest);
    rest = slice_trim(rest);
    out->exited = true;
    while (n < rest.len && n < sizeof out->reason - 1) {
        char c = rest.ptr[n];
        out->reason[n] = c;
        if (c < ' ' || c > '~') {
            out->reason[n] = '?';
        }
        n++;
    }
    out->reason[n] = '\0';
}

void qemu_agent_status_parse(struct slice text, struct qemu_agent_status *out)
{
    struct slice line;
    *out = (struct qemu_agent_status){0};
    /* An incomplete line does not count yet. */
    while (slice_cut(text, '\n', &line, &text)) {
        line = slice_trim(line);
        if (slice_starts_with(line, SLICE("READY"))) {
            out->ready = true;
        } else if (slice_starts_with(line, SLICE("STARTED"))) {
            out->started = true;
        } else if (slice_starts_with(line, SLICE("EXIT "))) {
            parse_exit(line, out);
        }
    }
}

void qemu_agent_status_read(const char *dir, struct qemu_agent_status *out)
{
    char path[PATH_MAX];
    struct buf text;
    struct err e;
    buf_init(&text, (size_t)4 * RECORD_MAX);
    if (fs_read(qemu_path(path, dir, "status"), &text, &e) != 0) {
        buf_reset(&text);
    }
    qemu_agent_status_parse(buf_slice(&text), out);
    buf_fini(&text);
}
