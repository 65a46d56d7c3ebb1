/* The addresses that the program is to listen on. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/fs.h"
#include "common/check/check.h"
#include "common/net/listen_address.h"

#define TABLE_MAX_BYTES ((size_t)16 << 20)
#define TCP_LISTEN 0x0A /* of /proc/net/tcp */

struct owner {
    long pid; /* 0: not found; it may be another user's */
    char name[32];
};

/* --- who has it ------------------------------------------------------------------------------ */

/* "  0: 0100007F:23F0 00000000:0000 0A … uid timeout inode": the inode of the listener on that port. */
static bool read_listener(struct slice line, unsigned port, uint64_t *inode)
{
    char fields[10][40];
    size_t n = 0;
    while (line.len > 0 && n < COUNT_OF(fields)) {
        struct slice word;
        (void)slice_cut(line, ' ', &word, &line);
        if (word.len > 0 && !slice_to_cstr(word, fields[n++], sizeof fields[0])) {
            return false;
        }
    }
    const char *colon = n == COUNT_OF(fields) ? strrchr(fields[1], ':') : NULL;
    if (colon == NULL || strtoul(colon + 1, NULL, 16) != port ||
        strtoul(fields[3], NULL, 16) != TCP_LISTEN) {
        return false;
    }
    *inode = strtoull(fields[9], NULL, 10);
    return true;
}

static bool find_listener(const char *table, unsigned port, uint64_t *inode)
{
    struct buf text;
    struct err e;
    struct slice line;
    bool found = false;
    buf_init(&text, TABLE_MAX_BYTES);
    if (fs_read(table, &text, &e) == 0) {
        struct slice rest = buf_slice(&text);
        while (!found && rest.len > 0) {
            (void)slice_cut(rest, '\n', &line, &rest);
            found = read_listener(line, port, inode);
        }
    }
    buf_fini(&text);
    return found;
}

static bool process_has(const char *pid, const char *socket_name)
{
    char path[300];
    char target[64];
    bool has = false;
    const struct dirent *entry;
    (void)snprintf(path, sizeof path, "/proc/%.16s/fd", pid);
    DIR *fds = opendir(path);
    while (fds != NULL && !has && (entry = readdir(fds)) != NULL) {
        ssize_t n = readlinkat(dirfd(fds), entry->d_name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        has = strcmp(target, socket_name) == 0;
    }
    if (fds != NULL) {
        closedir(fds);
    }
    return has;
}

static void read_name(const char *pid, char *out, size_t size)
{
    char path[64];
    struct buf text;
    struct err e;
    struct slice name = {NULL, 0};
    struct slice rest;
    buf_init(&text, 4096);
    (void)snprintf(path, sizeof path, "/proc/%.16s/comm", pid);
    if (fs_read(path, &text, &e) == 0) {
        (void)slice_cut(buf_slice(&text), '\n', &name, &rest);
    }
    if (!slice_to_cstr(name, out, size)) {
        out[0] = '\0';
    }
    buf_fini(&text);
}

static struct owner find_owner(unsigned port)
{
    struct owner owner = {.pid = 0};
    char socket_name[64];
    uint64_t inode = 0;
    const struct dirent *entry;
    if (!find_listener("/proc/net/tcp", port, &inode) &&
        !find_listener("/proc/net/tcp6", port, &inode)) {
        return owner;
    }
    (void)snprintf(socket_name, sizeof socket_name, "socket:[%" PRIu64 "]", inode);
    DIR *all = opendir("/proc");
    while (all != NULL && owner.pid == 0 && (entry = readdir(all)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10);
        if (pid > 0 && process_has(entry->d_name, socket_name)) {
            owner.pid = pid;
            read_name(entry->d_name, owner.name, sizeof owner.name);
        }
    }
    if (all != NULL) {
        closedir(all);
    }
    return owner;
}

/* --- one address ----------------------------------------------------------------------------- */

/* Binds it for a moment. 0, or an errno; *port is the one that was asked for. */
static int try_bind(const char *listen_on, unsigned *port)
{
    struct sockaddr_storage address;
    socklen_t size = 0;
    struct err e;
    int on = 1;
    int errnum = 0;
    if (listen_address_resolve("", listen_on, &address, &size, &e) != 0) {
        return EADDRNOTAVAIL;
    }
    *port = (unsigned)listen_address_port(&address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, size) != 0 || listen(fd, 1) != 0) {
        errnum = errno;
    }
    if (fd >= 0) {
        close(fd);
    }
    return errnum;
}

static void say_in_use(struct check *c, struct check_finding *f, const char *listen_on,
                       unsigned port)
{
    const struct owner owner = find_owner(port);
    if (owner.pid != 0 && strncmp(owner.name, "mayfly-", strlen("mayfly-")) == 0) {
        f->level = CHECK_OK;
        check_say(c, f, "%s is open already, by %s (pid %ld)", listen_on, owner.name, owner.pid);
        return;
    }
    f->hint = "stop the other program, or choose another port";
    if (owner.pid != 0) {
        f->level = CHECK_FAIL;
        check_say(c, f, "%s is in use by %s (pid %ld)", listen_on, owner.name, owner.pid);
    } else {
        f->level = CHECK_WARN;
        check_say(c, f,
                  "%s is in use, by a process that this user may not look at: if that is not this "
                  "program, it cannot start",
                  listen_on);
    }
}

/* A Unix socket is not bound, which would leave its file; whoever may write the folder can. */
static void check_socket_folder(struct check *c, const char *setting, const char *path)
{
    struct check_finding f = {.level = CHECK_OK, .subject = "addresses", .request = setting};
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct slice before = {path, slash > path ? (size_t)(slash - path) : 1};
    if (slice_to_cstr(before, folder, sizeof folder) && access(folder, W_OK | X_OK) == 0) {
        check_say(c, &f, "%s can be made", path);
        return;
    }
    f.level = CHECK_FAIL;
    f.hint = "make the folder, for the program's user to write in";
    check_say(c, &f, "%s: the folder: %s", path, strerror(errno));
}

static void check_port(struct check *c, const char *setting, const char *listen_on)
{
    struct check_finding f = {.level = CHECK_OK, .subject = "addresses", .request = setting};
    unsigned port = 0;
    if (listen_on[0] == '\0') {
        return;
    }
    if (listen_address_path(listen_on) != NULL) {
        check_socket_folder(c, setting, listen_address_path(listen_on));
        return;
    }
    int errnum = try_bind(listen_on, &port);
    if (errnum == 0) {
        check_say(c, &f, "%s is free", listen_on);
        return;
    }
    if (errnum == EADDRINUSE) {
        say_in_use(c, &f, listen_on, port);
        return;
    }
    f.level = CHECK_FAIL;
    f.hint = errnum == EACCES ? "a port below 1024 needs CAP_NET_BIND_SERVICE: choose one from "
                                "1024 on, or give the program the capability"
             : errnum == EADDRNOTAVAIL ? "no interface of this host has this address"
                                       : NULL;
    check_say(c, &f, "%s: %s", listen_on, strerror(errnum));
}

void check_ports(struct check *c)
{
    const struct config *config = c->config;
    switch (c->who) {
    case CONFIG_FOR_INGRESS:
        check_port(c, "ingress.listen", config->ingress.listen);
        check_port(c, "ingress.admin_listen", config->ingress.admin_listen);
        break;
    case CONFIG_FOR_WORKER:
        check_port(c, "worker.admin_listen", config->worker.admin_listen);
        break;
    case CONFIG_FOR_REAPER:
        check_port(c, "reaper.admin_listen", config->reaper.admin_listen);
        break;
    case CONFIG_FOR_CTL:
    case CONFIG_FOR_CTL_GITHUB:
    case CONFIG_FOR_CHECK:
        break;
    }
}
