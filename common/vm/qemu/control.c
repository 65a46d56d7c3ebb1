#include "common/vm/qemu/control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/vm/qemu/qemu.h"
#include "common/vm/qemu/qmp.h"
#include "common/vm/qemu/state.h"

#define ANSWER_MAX 512
#define RESPONSE_MS 5000
/* After the grace: SIGTERM, two seconds later SIGKILL, then the removal of its files. */
#define END_MS 10000
#define PAUSE_MS 2

bool qemu_end_request_parse(struct slice line, struct qemu_end_request *out)
{
    struct qemu_end_request r;
    struct slice word;
    struct slice rest;
    if (!slice_cut(line, ' ', &word, &rest) || !slice_eq_cstr(word, "END") ||
        !slice_cut(rest, ' ', &word, &rest) ||
        !slice_to_range(word, 0, QEMU_GRACE_MAX_MS, &r.grace_ms) || rest.len == 0 ||
        !slice_to_cstr(rest, r.reason, sizeof r.reason)) {
        return false;
    }
    for (const char *c = r.reason; *c != '\0'; c++) {
        if ((*c < 'a' || *c > 'z') && *c != '-') {
            return false;
        }
    }
    *out = r;
    return true;
}

static int connect_control(int dir_fd, const char *dir, int *fd, struct err *e)
{
    if (qemu_connect(dir_fd, QEMU_CONTROL_SOCKET, 0, NULL, NULL, fd, e) == 0) {
        return 0;
    }
    if (e->code == ENOENT || e->code == ECONNREFUSED) {
        return 1;
    }
    if (e->code == EAGAIN) { /* its backlog is full */
        return err_set(e, ERR_RETRY, ETIMEDOUT, "the supervisor of %s does not respond", dir);
    }
    return err_errno(e, ERR_AUTH, e->code,
                     "cannot ask the supervisor of %s to end its VM (it serves root, the worker's "
                     "user and the group that the directory of the VMs is writable to)",
                     dir);
}

/* 1: nobody listens, or the supervisor ended. 0: the connection was closed without a response. */
static int request_once(int dir_fd, const char *dir, const char *request, int64_t deadline_ms,
                        struct err *e)
{
    int fd;
    int rc = connect_control(dir_fd, dir, &fd, e);
    if (rc != 0) {
        return rc;
    }
    struct buf in;
    struct slice line;
    struct err why = {.code = 0};
    int64_t response_ms = clock_mono_ms() + RESPONSE_MS;
    buf_init(&in, ANSWER_MAX);
    if (qemu_send(fd, slice_of(request), response_ms, &why) == 0 &&
        qemu_read_line(fd, &in, &line, response_ms, &why) == 0) {
        if (!slice_eq_cstr(line, "OK")) {
            rc =
                err_set(e, ERR_AUTH, 0, "the supervisor of %s refused: %.*s", dir, SLICE_ARG(line));
        } else {
            qemu_line_done(&in);
            (void)!qemu_read_line(fd, &in, &line, deadline_ms, &why);
        }
    }
    if (why.code == ETIMEDOUT) {
        rc = err_set(e, ERR_RETRY, ETIMEDOUT, "the supervisor of %s does not respond", dir);
    }
    buf_fini(&in);
    close(fd);
    return rc;
}

bool qemu_control_listens(const char *dir)
{
    int fd = -1;
    struct err e = {.code = 0};
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool listens = dir_fd < 0 ? errno != ENOENT : connect_control(dir_fd, dir, &fd, &e) <= 0;
    if (fd >= 0) {
        close(fd);
    }
    if (dir_fd >= 0) {
        close(dir_fd);
    }
    return listens;
}

int qemu_control_end(const char *dir, int64_t grace_ms, const char *reason, struct err *e)
{
    char request[QEMU_CONTROL_LINE];
    int64_t deadline_ms = clock_mono_ms() + grace_ms + END_MS;
    int rc = 0;
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) {
        return errno == ENOENT ? 0 : err_errno(e, ERR_RETRY, errno, "cannot open %s", dir);
    }
    (void)snprintf(request, sizeof request, "END %" PRId64 " %s\n", grace_ms, reason);
    /* Again after the end of a connection: the supervisor ended, which the next attempt shows, or
     * made room for newer connections. */
    while (rc == 0) {
        rc = request_once(dir_fd, dir, request, deadline_ms, e);
        if (rc == 0 && clock_mono_ms() >= deadline_ms) {
            rc = err_set(e, ERR_RETRY, ETIMEDOUT, "the supervisor of %s does not end", dir);
        } else if (rc == 0) {
            clock_sleep_until(clock_mono_ms() + PAUSE_MS);
        }
    }
    close(dir_fd);
    return rc > 0 ? 0 : -1;
}

/* --- the shell -------------------------------------------------------------------------------- */

static int refuse_shell(const struct config_class *class, const char *name, int errnum,
                        struct err *e)
{
    switch (errnum) {
    case ENOENT:
        return err_set(
            e, ERR_CONFLICT, 0,
            "VM %s has no shell: it was launched before its class %s had `shell: true`, or "
            "it has ended",
            name, class->name);
    case ECONNREFUSED:
        return err_set(e, ERR_CONFLICT, 0, "VM %s has ended", name);
    case EACCES:
    case EPERM:
        return err_set(e, ERR_AUTH, errnum,
                       "only root and the worker's user may open a shell in VM %s", name);
    default:
        return err_errno(e, ERR_RETRY, errnum, "cannot connect to the shell of VM %s", name);
    }
}

int vm_qemu_shell(const struct config_class *class, const char *deployment, const char *name,
                  int *out_fd, struct err *e)
{
    char dir[PATH_MAX];
    struct err why = {.code = 0};
    int n =
        snprintf(dir, sizeof dir, "%s/%s.%s/%s", class->state_dir, deployment, class->name, name);
    if (n < 0 || (size_t)n >= sizeof dir) {
        return err_set(e, ERR_PERMANENT, ENAMETOOLONG, "%s is too long", class->state_dir);
    }
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0 && errno == ENOENT) {
        return err_set(e, ERR_NOT_FOUND, 0, "this host has no VM %s", name);
    }
    if (dir_fd < 0) {
        return refuse_shell(class, name, errno, e);
    }
    int rc = qemu_connect(dir_fd, QEMU_SHELL_SOCKET, 0, NULL, NULL, out_fd, &why);
    close(dir_fd);
    return rc == 0 ? 0 : refuse_shell(class, name, why.code, e);
}
