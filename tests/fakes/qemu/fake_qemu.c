#include "tests/fakes/qemu/fake_qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/codec.h"

#define STATE_MAGIC "MAYFLY FAKE MACHINE\n"
#define IN_MAX ((size_t)1 << 16)

static struct {
    int status_fd;
    int incoming_fd; /* -1: boot */
    int qmp_listen_fd;
    int payload_listen_fd;
    int qmp_fd;
    int payload_fd;
    int given_fd; /* by QMP's getfd */
    struct buf qmp_in;
    struct buf payload_in;
    struct buf machine; /* what a saved machine must agree with */
    char overlay[256];
    char cmdline[8192];
    bool saved;
    bool started;
    struct payload payload;
} fake = {.status_fd = -1,
          .incoming_fd = -1,
          .qmp_listen_fd = -1,
          .payload_listen_fd = -1,
          .qmp_fd = -1,
          .payload_fd = -1,
          .given_fd = -1};

NORETURN static void complain(const char *text)
{
    (void)fprintf(stderr, "fake-qemu: %s\n", text);
    (void)fflush(stderr);
    _exit(1);
}

/* --- the end -------------------------------------------------------------------------------- */

void fake_status(const char *line)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s\n", line);
    (void)!write(fake.status_fd, text, (size_t)n);
}

NORETURN static void end(int code)
{
    (void)fflush(NULL);
    _exit(code);
}

void fake_power_off(int code, const char *reason)
{
    char line[128];
    (void)snprintf(line, sizeof line, "EXIT %d %s", code, reason);
    fake_status(line);
    end(0);
}

/* Somebody asked for the end; reason NULL: of the process, without a word of the agent. */
static void asked_to_end(const char *reason)
{
    int64_t ms = 0;
    if (fake_fault("hang", NULL)) {
        return;
    }
    if (fake_fault("slow-end", &ms)) {
        clock_sleep_until(clock_mono_ms() + ms);
    }
    if (reason != NULL) {
        fake_power_off(0, reason);
    }
    end(0);
}

/* --- the command line ----------------------------------------------------------------------- */

/* The value of key in "word,key=value,…"; "" if it is not there. */
static void option(const char *text, const char *key, char *out, size_t size)
{
    struct slice rest = slice_of(text);
    struct slice item;
    struct slice name;
    struct slice value;
    out[0] = '\0';
    while (rest.len > 0) {
        (void)slice_cut(rest, ',', &item, &rest);
        if (slice_cut(item, '=', &name, &value) && slice_eq_cstr(name, key)) {
            (void)!slice_to_cstr(value, out, size);
        }
    }
}

static int listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!slice_to_cstr(slice_of(path), address.sun_path, sizeof address.sun_path)) {
        complain("UNIX socket path is too long");
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 8) != 0) {
        complain("cannot listen on a socket of the command line");
    }
    return fd;
}

static void take_chardev(const char *value)
{
    char id[32];
    char path[256];
    option(value, "id", id, sizeof id);
    option(value, "path", path, sizeof path);
    if (strcmp(id, "qmp") == 0) {
        fake.qmp_listen_fd = listen_on(path);
    } else if (strcmp(id, "payload") == 0) {
        fake.payload_listen_fd = listen_on(path);
    } else if (strcmp(id, "monitor") == 0) {
        int64_t fd;
        option(value, "fd", path, sizeof path);
        fake_monitor_open(slice_to_int64(slice_of(path), &fd) ? (int)fd : -1);
    } else if (strcmp(id, "status") == 0 && strcmp(path, "/dev/fdset/1") != 0) {
        complain("the status port is not on the descriptor that was added");
    }
}

/* What belongs to the machine, as QEMU understands it: restoring wants the same again. */
static bool of_the_machine(const char *name)
{
    static const char *const names[] = {"-machine", "-cpu", "-smp", "-m", "-device", "-append"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void take_fd(const char *value)
{
    char fd[16];
    char set[16];
    int64_t number;
    option(value, "fd", fd, sizeof fd);
    option(value, "set", set, sizeof set);
    if (!slice_to_int64(slice_of(fd), &number) || fcntl((int)number, F_GETFD) < 0) {
        complain("-add-fd: the descriptor is not open");
    }
    if (strcmp(set, "1") == 0) {
        fake.status_fd = (int)number;
    }
}

static void take_blockdev(const char *value)
{
    char node[32];
    option(value, "node-name", node, sizeof node);
    if (strcmp(node, "diskfile") == 0) {
        option(value, "filename", fake.overlay, sizeof fake.overlay);
    }
}

static void take_option(const char *name, const char *value)
{
    int64_t number;
    if (of_the_machine(name)) {
        buf_printf(&fake.machine, "%s %s\n", name, value);
    }
    if (strcmp(name, "-chardev") == 0) {
        take_chardev(value);
    } else if (strcmp(name, "-add-fd") == 0) {
        take_fd(value);
    } else if (strcmp(name, "-incoming") == 0) {
        if (strncmp(value, "fd:", 3) != 0 || !slice_to_int64(slice_of(value + 3), &number)) {
            complain("-incoming: only fd:N is known here");
        }
        fake.incoming_fd = (int)number;
    } else if (strcmp(name, "-blockdev") == 0) {
        take_blockdev(value);
    } else if (strcmp(name, "-append") == 0) {
        (void)snprintf(fake.cmdline, sizeof fake.cmdline, "%s", value);
    } else if (strcmp(name, "-kernel") == 0) {
        fake_faults_beside(value);
    }
}

static bool is_flag(const char *name)
{
    return strcmp(name, "-nodefaults") == 0 || strcmp(name, "-no-user-config") == 0 ||
           strcmp(name, "-no-reboot") == 0;
}

static void read_command_line(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (is_flag(argv[i])) {
            continue;
        }
        if (argv[i][0] != '-' || i + 1 == argc) {
            complain("an option that is not known");
        }
        take_option(argv[i], argv[i + 1]);
        i++;
    }
    if (fake.status_fd < 0 || fake.qmp_listen_fd < 0 || fake.payload_listen_fd < 0 ||
        fake.overlay[0] == '\0') {
        complain("a port or the disk is missing on the command line");
    }
}

/* QEMU opens the disk for writing and locks it; two on one overlay are refused. */
static void open_disk(void)
{
    int fd = open(fake.overlay, O_RDWR | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        complain("the disk cannot be opened, or is in use");
    }
}

/* --- booting and restoring ------------------------------------------------------------------ */

static void restore(void)
{
    char text[16384];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof text && (n = read(fake.incoming_fd, text + len, sizeof text - len)) > 0) {
        len += (size_t)n;
    }
    size_t magic = sizeof STATE_MAGIC - 1;
    if (len < magic || memcmp(text, STATE_MAGIC, magic) != 0 || len - magic != fake.machine.len ||
        memcmp(text + magic, fake.machine.data, fake.machine.len) != 0) {
        complain("load of migration failed: Invalid argument");
    }
    close(fake.incoming_fd);
}

static void chatter(int64_t bytes)
{
    char line[64];
    int64_t written = 0;
    for (int i = 0; written < bytes; i++) {
        int n = snprintf(line, sizeof line, "console line %d\n", i);
        (void)!write(1, line, (size_t)n);
        written += n;
    }
}

static void come_up(void)
{
    int64_t ms = 0;
    if (fake_fault("slow-start", &ms)) {
        clock_sleep_until(clock_mono_ms() + ms);
    }
    if (fake.incoming_fd >= 0) {
        if (fake_fault("bad-restore!", NULL)) {
            complain("load of migration failed: Input/output error");
        }
        restore();
    } else {
        (void)printf("fake kernel: booting\n");
        fake_probe(fake.cmdline);
        (void)fflush(stdout);
        if (!fake_fault("no-ready", NULL)) {
            fake_status("READY fake");
        }
    }
    if (fake_fault("chatter", &ms)) {
        chatter(ms);
    }
}

/* --- QMP ------------------------------------------------------------------------------------ */

static void qmp_say(const char *text)
{
    (void)!send(fake.qmp_fd, text, strlen(text), MSG_NOSIGNAL);
    (void)!send(fake.qmp_fd, "\r\n", 2, MSG_NOSIGNAL);
}

static void save_to_given(void)
{
    struct buf state;
    buf_init(&state, IN_MAX);
    buf_append_cstr(&state, STATE_MAGIC);
    buf_append(&state, buf_slice(&fake.machine));
    fake.saved =
        fake.given_fd >= 0 && write(fake.given_fd, state.data, state.len) == (ssize_t)state.len;
    buf_fini(&state);
}

static void qmp_command(const char *name)
{
    if (strcmp(name, "quit") == 0) {
        qmp_say("{\"return\": {}}");
        asked_to_end(NULL);
    } else if (strcmp(name, "system_powerdown") == 0) {
        qmp_say("{\"return\": {}}");
        qmp_say("{\"event\": \"POWERDOWN\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 0}}");
    } else if (strcmp(name, "query-status") == 0) {
        qmp_say(
            "{\"return\": {\"status\": \"running\", \"singlestep\": false, \"running\": true}}");
    } else if (strcmp(name, "migrate") == 0) {
        qmp_say("{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 0}}");
        save_to_given();
        qmp_say("{\"return\": {}}");
    } else if (strcmp(name, "query-migrate") == 0) {
        qmp_say(fake.saved ? "{\"return\": {\"status\": \"completed\"}}"
                           : "{\"return\": {\"status\": \"failed\", \"error-desc\": \"no file\"}}");
    } else if (strcmp(name, "qmp_capabilities") == 0 || strcmp(name, "getfd") == 0 ||
               strcmp(name, "migrate-set-parameters") == 0) {
        qmp_say("{\"return\": {}}");
    } else {
        qmp_say("{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command is not "
                "known\"}}");
    }
}

static void qmp_line(struct slice line)
{
    json_t *tree = json_loadb(line.ptr, line.len, 0, NULL);
    const char *name = json_string_value(json_object_get(tree, "execute"));
    qmp_command(name == NULL ? "" : name);
    json_decref(tree);
}

/* As recv, but keeps a descriptor that came along. */
static ssize_t receive(char *chunk, size_t size)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {.iov_base = chunk, .iov_len = size};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(fake.qmp_fd, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head != NULL && head->cmsg_type == SCM_RIGHTS) {
        memcpy(&fake.given_fd, CMSG_DATA(head), sizeof fake.given_fd);
    }
    return n;
}

/* The first line, moved out of the buffer; false if there is no whole one. */
static bool next_line(struct buf *in, char *out, size_t size)
{
    char *newline = in->len == 0 ? NULL : memchr(in->data, '\n', in->len);
    if (newline == NULL) {
        return false;
    }
    size_t len = (size_t)(newline - in->data);
    (void)!slice_to_cstr((struct slice){in->data, len}, out, size);
    memmove(in->data, newline + 1, in->len - len - 1);
    in->len -= len + 1;
    return true;
}

static void serve_qmp(void)
{
    char chunk[4096];
    char line[4096];
    ssize_t n = receive(chunk, sizeof chunk);
    if (n <= 0) {
        close(fake.qmp_fd);
        fake.qmp_fd = -1;
        buf_reset(&fake.qmp_in);
        return;
    }
    buf_append(&fake.qmp_in, (struct slice){chunk, (size_t)n});
    while (next_line(&fake.qmp_in, line, sizeof line)) {
        qmp_line(slice_of(line));
    }
}

/* --- the agent's port ----------------------------------------------------------------------- */

static void *run_jobs(void *unused)
{
    (void)unused;
    fake_runner(&fake.payload);
}

static void answer(const char *text)
{
    (void)!send(fake.payload_fd, text, strlen(text), MSG_NOSIGNAL);
}

static void start_runner(void)
{
    pthread_t thread;
    fake.started = true;
    answer("OK\n");
    fake_status("STARTED");
    fake_monitor_started();
    if (fake_fault("die-after-start!", NULL)) {
        end(1);
    }
    if (pthread_create(&thread, NULL, run_jobs, NULL) != 0) {
        complain("cannot start a thread");
    }
    (void)pthread_detach(thread);
}

/* Clock, host name and entropy behind the payload. */
static bool tail_ok(struct slice tail)
{
    struct slice clock;
    struct slice host;
    struct slice entropy;
    int64_t ms;
    unsigned char bytes[32];
    (void)slice_cut(tail, '\n', &clock, &tail);
    (void)slice_cut(tail, '\n', &host, &tail);
    (void)slice_cut(tail, '\n', &entropy, &tail);
    return slice_to_int64(clock, &ms) && ms > 0 && host.len > 0 &&
           codec_unhex(entropy, bytes, sizeof bytes);
}

static void take_frame(struct slice payload, struct slice tail)
{
    struct err e;
    if (fake_fault("deaf", NULL) || fake_fault("deaf!", NULL)) {
        return;
    }
    if (fake.started) {
        answer("ERR already-started\n");
    } else if (fake_fault("refuse", NULL)) {
        answer("ERR refused by a fault\n");
    } else if (!tail_ok(tail) || payload_unpack(payload, &fake.payload, &e) != 0) {
        answer("ERR bad-payload\n");
    } else {
        start_runner();
    }
}

static size_t count_lines(struct slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += s.ptr[i] == '\n';
    }
    return n;
}

/* "MAYFLY1 <length>\n" payload, then three lines; or "MAYFLY1 END\n". */
static void try_frame(void)
{
    struct slice in = buf_slice(&fake.payload_in);
    struct slice head;
    struct slice rest;
    int64_t len;
    if (!slice_cut(in, '\n', &head, &rest)) {
        return;
    }
    if (slice_eq_cstr(head, "MAYFLY1 END")) {
        buf_reset(&fake.payload_in);
        asked_to_end("terminated");
        return;
    }
    if (!slice_starts_with(head, SLICE("MAYFLY1 ")) ||
        !slice_to_int64((struct slice){head.ptr + 8, head.len - 8}, &len) || len < 1 ||
        len > PAYLOAD_PACKED_MAX) {
        answer("ERR bad-frame\n");
        buf_reset(&fake.payload_in);
        return;
    }
    if (rest.len < (size_t)len) {
        return;
    }
    struct slice tail = {rest.ptr + len, rest.len - (size_t)len};
    if (count_lines(tail) >= 3) {
        take_frame((struct slice){rest.ptr, (size_t)len}, tail);
        buf_reset(&fake.payload_in);
    }
}

static void serve_payload(void)
{
    char chunk[4096];
    ssize_t n = recv(fake.payload_fd, chunk, sizeof chunk, 0);
    if (n <= 0) {
        close(fake.payload_fd);
        fake.payload_fd = -1;
        buf_reset(&fake.payload_in);
        return;
    }
    buf_append(&fake.payload_in, (struct slice){chunk, (size_t)n});
    try_frame();
}

/* --- the loop ------------------------------------------------------------------------------- */

/* A chardev has one connection at a time; the next waits for its end. */
static int accept_one(int listener, int current)
{
    return current >= 0 ? current : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

static void serve(int signal_fd)
{
    for (;;) {
        struct pollfd p[] = {
            {.fd = fake.qmp_fd < 0 ? fake.qmp_listen_fd : fake.qmp_fd, .events = POLLIN},
            {.fd = fake.payload_fd < 0 ? fake.payload_listen_fd : fake.payload_fd,
             .events = POLLIN},
            {.fd = signal_fd, .events = POLLIN},
            {.fd = fake_monitor_fd(), .events = POLLIN},
        };
        if (poll(p, COUNT_OF(p), -1) < 0) {
            continue;
        }
        if (p[0].revents != 0 && fake.qmp_fd >= 0) {
            serve_qmp();
        } else if (p[0].revents != 0) {
            fake.qmp_fd = accept_one(fake.qmp_listen_fd, fake.qmp_fd);
            qmp_say("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": "
                    "7}, \"package\": \"fake\"}, \"capabilities\": [\"oob\"]}}");
        }
        if (p[1].revents != 0 && fake.payload_fd >= 0) {
            serve_payload();
        } else if (p[1].revents != 0) {
            fake.payload_fd = accept_one(fake.payload_listen_fd, fake.payload_fd);
        }
        if (p[3].revents != 0) {
            fake_monitor_serve();
        }
        if (p[2].revents != 0) {
            struct signalfd_siginfo info;
            (void)!read(signal_fd, &info, sizeof info);
            asked_to_end(NULL);
        }
    }
}

int main(int argc, char **argv)
{
    sigset_t set;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("QEMU emulator version 7.2.0 (fake)\n");
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        (void)printf("-sandbox on[,obsolete=allow|deny]\n");
        return 0;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    int signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    buf_init(&fake.machine, IN_MAX);
    buf_init(&fake.qmp_in, IN_MAX);
    buf_init(&fake.payload_in, IN_MAX);
    read_command_line(argc, argv);
    if (fake_fault("die-at-start!", NULL)) {
        complain("died at the start, as a fault wanted");
    }
    open_disk();
    come_up();
    serve(signal_fd);
    return 0;
}
