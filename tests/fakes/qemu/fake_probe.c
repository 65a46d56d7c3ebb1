#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fakes/qemu/fake_qemu.h"

static bool try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static bool try_connect(struct slice path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool reached = fd >= 0 && slice_to_cstr(path, address.sun_path, sizeof address.sun_path) &&
                   connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    int errnum = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = errnum;
    return reached;
}

static bool try_word(struct slice how, struct slice what)
{
    char path[1024];
    int64_t pid = 0;
    (void)!slice_to_cstr(what, path, sizeof path);
    (void)!slice_to_int64(what, &pid);
    if (slice_eq_cstr(how, "open")) {
        return try_open(path, O_RDONLY);
    }
    if (slice_eq_cstr(how, "write")) {
        return try_open(path, O_WRONLY);
    }
    if (slice_eq_cstr(how, "connect")) {
        return try_connect(what);
    }
    if (slice_eq_cstr(how, "kill")) {
        return kill((pid_t)pid, 0) == 0;
    }
    bool seized = ptrace(PTRACE_SEIZE, (pid_t)pid, NULL, NULL) == 0;
    if (seized) {
        (void)ptrace(PTRACE_DETACH, (pid_t)pid, NULL, NULL);
    }
    return seized;
}

void fake_probe(const char *cmdline)
{
    struct slice rest = slice_of(cmdline);
    struct slice word;
    struct slice how;
    struct slice what;
    while (rest.len > 0) {
        (void)slice_cut(rest, ' ', &word, &rest);
        if (slice_cut(word, '=', &how, &what) &&
            (slice_eq_cstr(how, "open") || slice_eq_cstr(how, "write") ||
             slice_eq_cstr(how, "connect") || slice_eq_cstr(how, "kill") ||
             slice_eq_cstr(how, "trace"))) {
            bool reached = try_word(how, what);
            (void)printf("probe %.*s: %s\n", SLICE_ARG(word),
                         reached ? "reached" : strerror(errno));
        }
    }
}
