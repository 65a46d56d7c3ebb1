/* mayfly-agent: in every VM of Mayfly, starts the runner of the one job and ends the VM. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/payload/payload.h"
#include "deploy/image/agent/agent_lambda.h"
#include "deploy/image/agent/agent_loop.h"
#include "deploy/image/agent/agent_serial.h"

#define PAYLOAD_PORT "org.mayfly.payload"
#define STATUS_PORT "org.mayfly.status"
/* EXT4_IOC_RESIZE_FS: grows a mounted ext4 to this many blocks. The kernel exports no header. */
#define EXT4_GROW _IOW('f', 16, uint64_t)
#define MS_MAX 3600000
/* For the reader of the last lines. */
#define DRAIN_MS 1000
/* Jobs open more files than a MicroVM's limit of 1,024. */
#define FILES_MAX 65536

struct settings {
    const char *runner;
    const char *user;
    const char *payload;
    const char *status;
    const char *shell;
    const char *disk;
    const char *address;
    const char *prepare;
    const char *check;
    int kill_grace_ms;
    int port;
    int warm_ms;
    bool lambda;
    bool unique;
    bool power_off;
};

static void print_agent_usage(FILE *out)
{
    fputs(
        "usage: mayfly-agent [options]\n"
        "  --runner PATH         the runner to start (/opt/runner/run.sh)\n"
        "  --user NAME           its user (runner); \"\" for the agent's own\n"
        "  --payload PATH        a device, FIFO, file or unix socket to read the frame from\n"
        "                        (the virtio-serial port " PAYLOAD_PORT ")\n"
        "  --status PATH         where status lines are appended (port " STATUS_PORT ")\n"
        "  --shell PATH          where people open shells (port " AGENT_SHELL_PORT
        ", if the VM has it)\n"
        "  --grow DEVICE         grow the root file system to the size of this disk first\n"
        "  --kill-grace-ms N     from TERM for the runner to KILL for all (30000)\n"
        "  --no-unique           keep clock, randomness and names of the VM\n"
        "  --no-power-off        exit at the end instead; as PID 1 power off in any case\n"
        "  --lambda              in a Lambda MicroVM: serve its hooks instead of reading a port,\n"
        "                        and exit at the end\n"
        "  --port N              where the hooks are served (9000); 0: any free one\n"
        "  --bind ADDRESS        (0.0.0.0)\n"
        "  --prepare PATH        a program to start as root, beside the runner, with its proxies\n"
        "  --check PATH          a program that must exit 0 before validate is 200, run as root\n"
        "  --warm-ms N           time limit of the checks of ready and of validate (180000)\n"
        "  --protocol            print the version of the payloads that it reads, and exit\n"
        "  --version\n",
        out);
}

static int to_number(const char *option, const char *text, int64_t limit)
{
    int64_t value;
    if (!slice_to_int64(slice_of(text), &value) || value < 0 || value > limit) {
        fprintf(stderr, "mayfly-agent: --%s must be 0 to %lld, not \"%s\"\n", option,
                (long long)limit, text);
        exit(2);
    }
    return (int)value;
}

/* The less common options; false if it is another one. */
static bool parse_other_option(int c, const char *value, struct settings *s)
{
    switch (c) {
    case 'L':
        s->lambda = true;
        return true;
    case 'o':
        s->port = to_number("port", value, 65535);
        return true;
    case 'b':
        s->address = value;
        return true;
    case 'e':
        s->prepare = value;
        return true;
    case 'S':
        s->shell = value;
        return true;
    case 'c':
        s->check = value;
        return true;
    case 'w':
        s->warm_ms = to_number("warm-ms", value, MS_MAX);
        return true;
    default:
        return false;
    }
}

static void parse_agent_options(int argc, char **argv, struct settings *s)
{
    static const struct option options[] = {{"runner", required_argument, NULL, 'r'},
                                            {"user", required_argument, NULL, 'u'},
                                            {"payload", required_argument, NULL, 'p'},
                                            {"status", required_argument, NULL, 's'},
                                            {"grow", required_argument, NULL, 'g'},
                                            {"kill-grace-ms", required_argument, NULL, 'k'},
                                            {"shell", required_argument, NULL, 'S'},
                                            {"no-unique", no_argument, NULL, 'U'},
                                            {"no-power-off", no_argument, NULL, 'P'},
                                            {"lambda", no_argument, NULL, 'L'},
                                            {"port", required_argument, NULL, 'o'},
                                            {"bind", required_argument, NULL, 'b'},
                                            {"prepare", required_argument, NULL, 'e'},
                                            {"check", required_argument, NULL, 'c'},
                                            {"warm-ms", required_argument, NULL, 'w'},
                                            {"protocol", no_argument, NULL, 'O'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    *s = (struct settings){.runner = "/opt/runner/run.sh",
                           .user = "runner",
                           .address = "0.0.0.0",
                           .kill_grace_ms = 30000,
                           .port = 9000,
                           .warm_ms = 180000,
                           .unique = true,
                           .power_off = true};
    for (int c = getopt_long(argc, argv, "", options, NULL); c != -1;
         c = getopt_long(argc, argv, "", options, NULL)) {
        switch (c) {
        case 'r':
            s->runner = optarg;
            break;
        case 'u':
            s->user = optarg;
            break;
        case 'p':
            s->payload = optarg;
            break;
        case 's':
            s->status = optarg;
            break;
        case 'g':
            s->disk = optarg;
            break;
        case 'k':
            s->kill_grace_ms = to_number("kill-grace-ms", optarg, MS_MAX);
            break;
        case 'U':
            s->unique = false;
            break;
        case 'P':
            s->power_off = false;
            break;
        case 'O':
            printf("%d\n", PAYLOAD_VERSION);
            exit(0);
        case 'V':
            puts("mayfly-agent " MAYFLY_VERSION);
            exit(0);
        default:
            if (parse_other_option(c, optarg, s)) {
                break;
            }
            print_agent_usage(c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
}

/* Mounts the VM's additional disk space. A VM without it is small, not broken. */
static void grow_root(const char *disk)
{
    struct statfs fs;
    int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int device = open(disk, O_RDONLY | O_CLOEXEC);
    off_t bytes = device < 0 ? -1 : lseek(device, 0, SEEK_END);
    if (root >= 0 && bytes > 0 && fstatfs(root, &fs) == 0 && fs.f_bsize > 0) {
        uint64_t blocks = (uint64_t)bytes / (uint64_t)fs.f_bsize;
        if (ioctl(root, EXT4_GROW, &blocks) != 0) {
            log_warn("disk_grow_failed", LOG_STR("disk", disk), LOG_STR("reason", strerror(errno)));
        }
    }
    if (device >= 0) {
        close(device);
    }
    if (root >= 0) {
        close(root);
    }
}

static int open_payload(const struct settings *s, struct agent_port *port, struct err *e)
{
    char path[128];
    if (s->payload != NULL) {
        return agent_port_open(port, s->payload, e);
    }
    if (agent_port_find(PAYLOAD_PORT, path, sizeof(path), e) != 0) {
        return -1;
    }
    return agent_port_open(port, path, e);
}

static int open_status(const struct settings *s, struct err *e)
{
    char path[128];
    if (s->status == NULL && agent_port_find(STATUS_PORT, path, sizeof(path), e) != 0) {
        return -1;
    }
    const char *used = s->status != NULL ? s->status : path;
    int fd = open(used, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    return fd >= 0 ? fd : err_errno(e, ERR_PERMANENT, errno, "cannot open %s", used);
}

/* Only a VM of a class with `shell: true` has the port. -1: none. */
static int open_shell_port(const struct settings *s)
{
    char path[128];
    struct agent_port port;
    struct err e = {0};
    bool there = s->shell != NULL || agent_port_find(AGENT_SHELL_PORT, path, sizeof(path), &e) == 0;
    if (!there) {
        return -1;
    }
    if (agent_port_open(&port, s->shell != NULL ? s->shell : path, &e) != 0) {
        log_error("shell_unavailable", LOG_ERR(&e));
        return -1;
    }
    int fd = port.fd;
    port.fd = -1;
    agent_port_fini(&port);
    return fd;
}

/* Runs the loop with frames from a port. */
static int run_serial(const struct settings *s, struct agent_loop *loop, struct err *e)
{
    struct agent_port port = {.fd = -1};
    struct agent_serial serial = {
        .core = &loop->core, .port = &port, .unique = s->unique, .prepare = {.path = s->prepare}};
    int rc = open_payload(s, &port, e);
    if (rc == 0) {
        const struct agent_transport transport = agent_serial_transport(&serial);
        rc = agent_loop_run(loop, &transport, e);
    }
    agent_prepare_stop(&serial.prepare);
    agent_port_fini(&port);
    return rc;
}

static void raise_file_limit(void)
{
    struct rlimit limit = {FILES_MAX, FILES_MAX};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Runs the loop with the hooks of Lambda. */
static int run_lambda(const struct settings *s, struct agent_loop *loop, struct err *e)
{
    static struct agent_lambda lambda; /* too large for the stack */
    const struct agent_lambda_options options = {.address = s->address,
                                                 .port = s->port,
                                                 .prepare = s->prepare,
                                                 .unique = s->unique,
                                                 .warm = {.runner_path = s->runner,
                                                          .user = loop->core.options.user,
                                                          .check = s->check,
                                                          .limit_ms = s->warm_ms}};
    raise_file_limit();
    if (agent_lambda_open(&lambda, &options, &loop->core, e) != 0) {
        return -1;
    }
    log_info("hook_server_started", LOG_STR("address", s->address),
             LOG_INT("port", lambda.hooks.port));
    const struct agent_transport transport = agent_lambda_transport(&lambda);
    int rc = agent_loop_run(loop, &transport, e);
    agent_lambda_close(&lambda);
    return rc;
}

/* Runs from the host's first request to the end of the runner. Returns the exit code of this
 * program. */
static int run_agent(const struct settings *s, struct agent_output *console,
                     struct agent_output *log)
{
    struct err e = {0};
    struct agent_user user;
    struct agent_loop loop;
    static struct agent_shell shell; /* too large for the stack */
    int code = 1;
    struct agent_loop_options options = {
        .core = {.runner_path = s->runner, .kill_grace_ms = s->kill_grace_ms},
        .console = console,
        .log = log,
        .shell = &shell,
        .status_fd = -1};
    if (agent_shell_init(&shell, s->lambda ? -1 : open_shell_port(s), &e) != 0) {
        goto out;
    }
    if (!s->lambda || s->status != NULL) {
        options.status_fd = open_status(s, &e);
        if (options.status_fd < 0) {
            goto out;
        }
    }
    if (s->user[0] != '\0') {
        if (agent_user_load(s->user, &user, &e) != 0) {
            goto out;
        }
        options.core.user = &user;
    }
    if (agent_loop_init(&loop, &options, &e) != 0) {
        goto out;
    }
    int rc = s->lambda ? run_lambda(s, &loop, &e) : run_serial(s, &loop, &e);
    code = rc == 0 && agent_core_ended_well(&loop.core) ? 0 : 1;
    agent_loop_fini(&loop);
out:
    agent_shell_fini(&shell);
    if (e.class != ERR_NONE) {
        log_error("agent_failed", LOG_ERR(&e));
    }
    if (options.status_fd >= 0) {
        close(options.status_fd);
    }
    return code;
}

static void write_log_line(void *ctx, struct slice line)
{
    agent_output_line(ctx, line);
}

int main(int argc, char **argv)
{
    struct settings s;
    parse_agent_options(argc, argv, &s);
    struct agent_output console;
    struct agent_output log;
    (void)signal(SIGPIPE, SIG_IGN);
    log_open("mayfly-agent", STDERR_FILENO);
    agent_output_init(&console, STDOUT_FILENO, "console");
    agent_output_init(&log, STDERR_FILENO, "log");
    log_set_writer(write_log_line, &log);
    (void)umask(022);
    /* Processes that the job leaves behind become children of the agent and are reaped. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (s.disk != NULL) {
        grow_root(s.disk);
    }
    int code = run_agent(&s, &console, &log);
    agent_output_drain(&console, DRAIN_MS);
    agent_output_drain(&log, DRAIN_MS);
    /* In Lambda the platform ends the VM when its program exits. */
    if (!s.lambda && (s.power_off || getpid() == 1)) {
        /* No sync: the disk is discarded with the VM. */
        (void)reboot(RB_POWER_OFF);
        log_error("power_off_failed", LOG_STR("reason", strerror(errno)));
    }
    log_set_writer(NULL, NULL);
    agent_output_fini(&console);
    agent_output_fini(&log);
    return code;
}
