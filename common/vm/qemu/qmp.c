#include "common/vm/qemu/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"

#define LINE_MAX_BYTES ((size_t)1 << 20)
#define CONNECT_PAUSE_MS 3

struct qmp {
    int fd;
    struct buf in;
};

static void close_keeping_errno(int fd)
{
    int errnum = errno;
    close(fd);
    errno = errnum;
}

/* The directory is QEMU's: a QEMU that was taken over may put a link to another VM's socket there,
 * which is not followed (ELOOP). */
static int try_connect(int dir_fd, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int node = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (node < 0) {
        return -1;
    }
    struct stat st;
    int fd = -1;
    if (fstat(node, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        errno = ELOOP;
    } else {
        (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", node);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close_keeping_errno(fd);
        fd = -1;
    }
    close_keeping_errno(node);
    return fd;
}

int qemu_connect(int dir_fd, const char *name, int64_t deadline_ms, qemu_gone_fn *gone, void *arg,
                 int *out_fd, struct err *e)
{
    for (;;) {
        int fd = try_connect(dir_fd, name);
        if (fd >= 0) {
            *out_fd = fd;
            return 0;
        }
        int errnum = errno;
        if (errnum != ENOENT && errnum != ECONNREFUSED && errnum != EAGAIN) {
            return err_errno(e, ERR_RETRY, errnum, "cannot connect to the VM's %s", name);
        }
        if (gone != NULL && gone(arg)) {
            return err_set(e, ERR_RETRY, errnum, "the VM ended before it offered %s", name);
        }
        int64_t now = clock_mono_ms();
        if (now >= deadline_ms) {
            return err_errno(e, ERR_RETRY, errnum, "the VM did not offer %s in time", name);
        }
        clock_sleep_until(now + CONNECT_PAUSE_MS);
    }
}

/* Waits for the events; false at the deadline. */
static bool wait_for_events(int fd, short events, int64_t deadline_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        int64_t left = deadline_ms - clock_mono_ms();
        if (left <= 0) {
            return false;
        }
        int n = poll(&p, 1, left > 60000 ? 60000 : (int)left);
        if (n > 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
    }
}

int qemu_send(int fd, struct slice data, int64_t deadline_ms, struct err *e)
{
    while (data.len > 0) {
        ssize_t n = send(fd, data.ptr, data.len, MSG_NOSIGNAL);
        if (n > 0) {
            data.ptr += n;
            data.len -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (!wait_for_events(fd, POLLOUT, deadline_ms)) {
                return err_set(e, ERR_RETRY, ETIMEDOUT, "the VM did not accept the data in time");
            }
        } else if (errno != EINTR) {
            return err_errno(e, ERR_RETRY, errno, "cannot write to the VM");
        }
    }
    return 0;
}

int qemu_read_line(int fd, struct buf *in, struct slice *line, int64_t deadline_ms, struct err *e)
{
    char chunk[4096];
    for (;;) {
        const char *end = in->len == 0 ? NULL : memchr(in->data, '\n', in->len);
        if (end != NULL) {
            *line = slice_trim((struct slice){in->data, (size_t)(end - in->data)});
            return 0;
        }
        if (in->failed) {
            return err_set(e, ERR_RETRY, 0, "the VM sent a line of more than %zu bytes",
                           in->limit_bytes);
        }
        ssize_t n = recv(fd, chunk, sizeof chunk, 0);
        if (n > 0) {
            buf_append(in, (struct slice){chunk, (size_t)n});
        } else if (n == 0) {
            return err_set(e, ERR_RETRY, ECONNRESET, "the VM hung up");
        } else if (errno == EAGAIN) {
            if (!wait_for_events(fd, POLLIN, deadline_ms)) {
                return err_set(e, ERR_RETRY, ETIMEDOUT, "the VM did not answer in time");
            }
        } else if (errno != EINTR) {
            return err_errno(e, ERR_RETRY, errno, "cannot read from the VM");
        }
    }
}

void qemu_line_done(struct buf *in)
{
    char *end = in->len == 0 ? NULL : memchr(in->data, '\n', in->len);
    if (end != NULL) {
        size_t rest = in->len - (size_t)(end + 1 - in->data);
        memmove(in->data, end + 1, rest);
        in->len = rest;
        in->data[rest] = '\0';
    }
}

enum qmp_kind qmp_classify(struct slice line, struct buf *out_return, struct err *e)
{
    enum qmp_kind kind = QMP_NONSENSE;
    json_t *tree = json_loadb(line.ptr == NULL ? "" : line.ptr, line.len, 0, NULL);
    const json_t *answer = json_object_get(tree, "return");
    const json_t *error = json_object_get(tree, "error");
    if (answer != NULL) {
        char *text = json_dumps(answer, JSON_COMPACT | JSON_ENCODE_ANY);
        kind = QMP_RETURN;
        if (out_return != NULL && text != NULL) {
            buf_append_cstr(out_return, text);
        }
        free(text);
    } else if (error != NULL) {
        const char *said = json_string_value(json_object_get(error, "desc"));
        kind = QMP_ERROR;
        (void)err_set(e, ERR_RETRY, 0, "QEMU refused: %.300s", said == NULL ? "no reason" : said);
    } else if (json_object_get(tree, "QMP") != NULL) {
        kind = QMP_GREETING;
    } else if (json_object_get(tree, "event") != NULL) {
        kind = QMP_EVENT;
    }
    json_decref(tree);
    return kind;
}

static void copy_printable(const json_t *object, const char *key, char *out, size_t size)
{
    const char *value = json_string_value(json_object_get(object, key));
    (void)snprintf(out, size, "%s", value == NULL ? "" : value);
    for (char *c = out; *c != '\0'; c++) {
        *c = *c >= ' ' && *c <= '~' ? *c : '?';
    }
}

void qmp_news_of(struct slice line, struct qmp_news *out)
{
    json_t *tree = json_loadb(line.ptr == NULL ? "" : line.ptr, line.len, 0, NULL);
    const json_t *data = json_object_get(tree, "data");
    copy_printable(tree, "event", out->event, sizeof out->event);
    copy_printable(data, "operation", out->operation, sizeof out->operation);
    copy_printable(data, "action", out->action, sizeof out->action);
    copy_printable(data, "reason", out->reason, sizeof out->reason);
    copy_printable(json_object_get(tree, "return"), "status", out->status, sizeof out->status);
    json_decref(tree);
}

void qmp_text_member(const struct buf *object, const char *key, char *out, size_t size)
{
    json_t *tree = json_loadb(object->len == 0 ? "" : object->data, object->len, 0, NULL);
    const char *value = json_string_value(json_object_get(tree, key));
    if (value == NULL || !slice_to_cstr(slice_of(value), out, size)) {
        out[0] = '\0';
    }
    json_decref(tree);
}

/* Reads lines until one that is not an event. */
static int read_response(struct qmp *q, enum qmp_kind wanted, int64_t deadline_ms, struct buf *out,
                         struct err *e)
{
    for (;;) {
        struct slice line;
        if (qemu_read_line(q->fd, &q->in, &line, deadline_ms, e) != 0) {
            return -1;
        }
        enum qmp_kind kind = qmp_classify(line, out, e);
        qemu_line_done(&q->in);
        if (kind == wanted) {
            return 0;
        }
        if (kind == QMP_ERROR) {
            return -1;
        }
        if (kind != QMP_EVENT) {
            return err_set(e, ERR_RETRY, 0, "QEMU sent an invalid response");
        }
    }
}

int qmp_open(int dir_fd, int64_t deadline_ms, struct qmp **out, struct err *e)
{
    int fd;
    if (qemu_connect(dir_fd, "qmp.sock", deadline_ms, NULL, NULL, &fd, e) != 0) {
        return -1;
    }
    struct qmp *q = calloc(1, sizeof *q);
    ASSERT(q != NULL);
    q->fd = fd;
    buf_init(&q->in, LINE_MAX_BYTES);
    if (read_response(q, QMP_GREETING, deadline_ms, NULL, e) != 0 ||
        qmp_call(q, "qmp_capabilities", NULL, deadline_ms, NULL, e) != 0) {
        qmp_close(q);
        return -1;
    }
    *out = q;
    return 0;
}

void qmp_close(struct qmp *q)
{
    if (q != NULL) {
        close(q->fd);
        buf_fini(&q->in);
        free(q);
    }
}

int qmp_call(struct qmp *q, const char *command, const char *arguments, int64_t deadline_ms,
             struct buf *out, struct err *e)
{
    struct buf text;
    buf_init(&text, 4096);
    buf_printf(&text, "{\"execute\":\"%s\"", command);
    if (arguments != NULL) {
        buf_printf(&text, ",\"arguments\":%s", arguments);
    }
    buf_append_cstr(&text, "}\n");
    ASSERT(!text.failed);
    int rc = qemu_send(q->fd, buf_slice(&text), deadline_ms, e);
    buf_fini(&text);
    if (rc != 0 || read_response(q, QMP_RETURN, deadline_ms, out, e) != 0) {
        return err_wrap(e, "%s", command);
    }
    return 0;
}

int qmp_give_fd(struct qmp *q, int fd, const char *name, int64_t deadline_ms, struct err *e)
{
    char text[128];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    int n = snprintf(text, sizeof text,
                     "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"%s\"}}\n", name);
    ASSERT(n > 0 && (size_t)n < sizeof text);
    struct iovec data = {.iov_base = text, .iov_len = (size_t)n};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    if (sendmsg(q->fd, &message, MSG_NOSIGNAL) != n) {
        return err_errno(e, ERR_RETRY, errno, "cannot pass a file to QEMU");
    }
    return read_response(q, QMP_RETURN, deadline_ms, NULL, e);
}
