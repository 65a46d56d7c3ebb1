#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker/supervisor/supervisor.h"

#define BACKLOG 16
#define MAX_GROUPS 1024
#define NO_GROUP ((gid_t)-1)

/* --- who may ask ----------------------------------------------------------------------------- */

/* The group that may write to the directory of the VMs may do with its VMs as it likes. */
static gid_t group_of_vms(int dir_fd)
{
    struct stat st;
    return fstatat(dir_fd, "..", &st, 0) == 0 && (st.st_mode & S_IWGRP) != 0 ? st.st_gid : NO_GROUP;
}

/* SO_PEERCRED has the user and the primary group only; the others are in SO_PEERGROUPS. */
static bool is_member(int fd, gid_t primary, gid_t group)
{
    gid_t groups[MAX_GROUPS];
    socklen_t size = sizeof groups;
    if (group == NO_GROUP || primary == group) {
        return group != NO_GROUP;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0) {
        return false;
    }
    for (size_t i = 0; i < size / sizeof groups[0]; i++) {
        if (groups[i] == group) {
            return true;
        }
    }
    return false;
}

static bool is_permitted(const struct supervisor_control *c, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    char text[160];
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return false;
    }
    if (peer.uid == 0 || peer.uid == geteuid() || is_member(fd, peer.gid, c->group)) {
        return true;
    }
    (void)snprintf(text, sizeof text,
                   "ERR user %u is neither this VM's nor root nor in the group of the VMs' "
                   "directory\n",
                   (unsigned)peer.uid);
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
    return false;
}

/* --- the socket ------------------------------------------------------------------------------ */

/* sun_path has 108 bytes, the directory's path may have more. */
int supervisor_listen(int dir_fd, const char *name, mode_t mode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir_fd, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0777 & ~mode);
    bool bound = fd >= 0 && (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) &&
                 bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    int errnum = errno;
    (void)umask(before);
    if (bound && listen(fd, BACKLOG) == 0) {
        return fd;
    }
    errno = bound ? errno : errnum;
    if (fd >= 0) {
        errnum = errno;
        close(fd);
        errno = errnum;
    }
    return -1;
}

int supervisor_control_open(struct supervisor_control *c, const char *dir, struct err *e)
{
    *c = (struct supervisor_control){.listen_fd = -1, .group = NO_GROUP};
    for (size_t i = 0; i < COUNT_OF(c->peers); i++) {
        c->peers[i].fd = -1;
    }
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd >= 0) {
        c->group = group_of_vms(dir_fd);
        c->listen_fd = supervisor_listen(dir_fd, QEMU_CONTROL_SOCKET, 0660);
    }
    int errnum = errno;
    if (dir_fd >= 0) {
        close(dir_fd);
    }
    return c->listen_fd >= 0
               ? 0
               : err_errno(e, ERR_RETRY, errnum, "cannot listen on %s/" QEMU_CONTROL_SOCKET, dir);
}

size_t supervisor_control_fds(const struct supervisor_control *c, struct pollfd *out)
{
    out[0] = (struct pollfd){.fd = c->listen_fd, .events = POLLIN};
    for (size_t i = 0; i < COUNT_OF(c->peers); i++) {
        out[i + 1] = (struct pollfd){.fd = c->peers[i].fd, .events = POLLIN};
    }
    return COUNT_OF(c->peers) + 1;
}

static void close_peer(struct supervisor_peer *p)
{
    if (p->fd >= 0) {
        close(p->fd);
    }
    *p = (struct supervisor_peer){.fd = -1};
}

/* The oldest connection makes room for a new one: nobody can keep the others out. */
static void accept_peers(struct supervisor_control *c)
{
    int fd;
    while ((fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        if (!is_permitted(c, fd)) {
            close(fd);
            continue;
        }
        struct supervisor_peer *p = &c->peers[c->next++ % COUNT_OF(c->peers)];
        close_peer(p);
        p->fd = fd;
    }
}

/* Returns whether it has a request, which counts also if nobody waits for the response any more. What
 * is no request ends its connection. */
static bool read_peer(struct supervisor_peer *p, struct qemu_end_request *out)
{
    ssize_t n = recv(p->fd, p->line + p->len, sizeof p->line - p->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    p->len += n > 0 ? (size_t)n : 0;
    const char *end = memchr(p->line, '\n', p->len);
    if (end != NULL &&
        qemu_end_request_parse((struct slice){p->line, (size_t)(end - p->line)}, out)) {
        (void)!send(p->fd, "OK\n", 3, MSG_NOSIGNAL);
        p->len = 0;
        return true;
    }
    if (n <= 0 || end != NULL || p->len == sizeof p->line) {
        (void)!send(p->fd, "ERR this is no request\n", 23, MSG_NOSIGNAL);
        close_peer(p);
    }
    return false;
}

bool supervisor_control_take(struct supervisor_control *c, struct qemu_end_request *out)
{
    accept_peers(c);
    for (size_t i = 0; i < COUNT_OF(c->peers); i++) {
        if (c->peers[i].fd >= 0 && read_peer(&c->peers[i], out)) {
            return true;
        }
    }
    return false;
}
