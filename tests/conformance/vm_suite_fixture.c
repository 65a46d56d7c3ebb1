#include "tests/conformance/vm_suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fs.h"
#include "common/base/random.h"
#include "common/vm/launcher.h"
#include "tests/conformance/vm_suite_key.h"
#include "worker/launcher/launcher.h"

#define WAIT_MS 60000
#define SKIPPED 77

static struct {
    bool real;
    char binary[256];
    char image[512];
    char shared_dir[128]; /* the state of all tests of the real one */
    int tests;
} suite;

bool suite_is_fake(void)
{
    return !suite.real;
}

static bool start_launcher(void)
{
    struct launcher launcher;
    launcher_fork(&launcher);
    if (!launcher_open(&launcher, SUITE_UIDS)) {
        (void)fprintf(stderr, "skipped: %s\n", launcher.why);
        return false;
    }
    return true;
}

/* -1: run the tests; else the program's exit status. */
int suite_start(int argc, char **argv)
{
    static const struct conformance_child children[] = {
        {"launch", vm_child_launch}, {"room", vm_child_room}, {NULL, NULL}};
    int rc = conformance_start(argc, argv, children);
    if (rc >= 0) {
        return rc;
    }
    struct slice binary;
    struct slice image;
    struct slice rest;
    (void)slice_cut(slice_of(argv[1]), ':', &binary, &rest);
    (void)slice_cut(rest, ':', &image, &rest);
    suite.real = binary.len == 0;
    if (slice_eq_cstr(rest, "users") && !start_launcher()) {
        return SKIPPED;
    }
    const char *named = getenv("MAYFLY_TEST_IMAGE");
    if (slice_eq_cstr(image, "-")) {
        image = slice_of(named);
    }
    if (image.len == 0) {
        (void)fprintf(stderr, "skipped: MAYFLY_TEST_IMAGE names no image\n");
        return SKIPPED;
    }
    if (!slice_to_cstr(binary, suite.binary, sizeof suite.binary) ||
        !slice_to_cstr(image, suite.image, sizeof suite.image)) {
        return 2;
    }
    const char *temp = getenv("TMPDIR");
    (void)snprintf(suite.shared_dir, sizeof suite.shared_dir, "%s/mayfly-vm-suite-XXXXXX",
                   temp != NULL ? temp : "/tmp");
    return mkdtemp(suite.shared_dir) == NULL ? 2 : -1;
}

int suite_stop(void **state)
{
    struct err e;
    (void)state;
    return fs_remove_tree(suite.shared_dir, &e);
}

/* --- the server ----------------------------------------------------------------------------- */

/* A job as GitHub describes it, as far as the stand-in runner reads it. */
static void append_job(struct buf *out, const char *command, const char *base)
{
    buf_printf(
        out,
        "{\"jobId\":\"j\",\"jobDisplayName\":\"42\",\"plan\":{\"planId\":\"p\"},\"resources\":"
        "{\"endpoints\":[{\"name\":\"SystemVssConnection\",\"authorization\":{\"parameters\":"
        "{\"AccessToken\":\"t\"}},\"data\":{\"ResultsServiceUrl\":\"%s\"}}]},\"steps\":[{\"id\":"
        "\"s\","
        "\"inputs\":{\"type\":2,\"map\":[{\"Key\":{\"lit\":\"script\"},\"Value\":{\"lit\":",
        base);
    buf_append_json(out, slice_of(command));
    buf_append_cstr(out, "}}]}}]}");
}

/* What the runner's side of GitHub answers, by the end of the path. Asked while it is busy, the broker errs, and is asked again
 * in a while. The status. */
static int answer_runner(const struct suite_server *s, const char *request, struct buf *out)
{
    char base[64];
    (void)snprintf(base, sizeof base, "http://%s:%d/", suite.real ? "10.0.2.2" : "127.0.0.1",
                   (int)s->port);
    if (strstr(request, "/token ") != NULL) {
        buf_append_cstr(out, "{\"access_token\":\"t\"}");
    } else if (strstr(request, "/session ") != NULL) {
        buf_append_cstr(out, "{\"sessionId\":\"s\"}");
    } else if (strstr(request, "status=Busy") != NULL && strstr(request, "GET ") == request) {
        return 503;
    } else if (strstr(request, "/message?") != NULL) {
        buf_printf(out,
                   "{\"messageType\":\"RunnerJobRequest\",\"body\":\"{\\\"id\\\":\\\"42\\\","
                   "\\\"runner_request_id\\\":"
                   "\\\"r\\\",\\\"run_service_url\\\":\\\"%s\\\"}\"}",
                   base);
    } else if (strstr(request, "/acquirejob ") != NULL) {
        append_job(out, s->command, base);
    } else {
        buf_append_cstr(out, "{}");
    }
    return 200;
}

static size_t head_end(const char *request)
{
    const char *end = strstr(request, "\r\n\r\n");
    return end == NULL ? 0 : (size_t)(end - request) + 4;
}

/* Whether all of the body has arrived, too: closing earlier would reset the connection. */
static bool is_whole(const char *request, size_t len)
{
    const char *length = strcasestr(request, "content-length: ");
    size_t head = head_end(request);
    return head > 0 && len >= head + (length == NULL ? 0 : strtoul(length + 16, NULL, 10));
}

static void serve_one(const struct suite_server *s, int fd)
{
    char request[65536] = {0};
    struct buf body;
    struct buf answer;
    size_t len = 0;
    ssize_t n;
    buf_init(&body, 65536);
    buf_init(&answer, 65536);
    while (!is_whole(request, len) && len < sizeof request - 1 &&
           (n = read(fd, request + len, sizeof request - 1 - len)) > 0) {
        len += (size_t)n;
    }
    int status = answer_runner(s, request, &body);
    buf_printf(&answer, "HTTP/1.1 %d -\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
               body.len);
    buf_append(&answer, buf_slice(&body));
    (void)!write(fd, answer.data, answer.len);
    buf_fini(&answer);
    buf_fini(&body);
    close(fd);
}

static void *serve(void *arg)
{
    const struct suite_server *s = arg;
    for (;;) {
        int fd = accept(s->listen_fd, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        serve_one(s, fd);
    }
}

void suite_server_start(struct suite_server *s, const char *command)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *s = (struct suite_server){.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listen_fd, 64), 0);
    assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&address, &size), 0);
    s->port = ntohs(address.sin_port);
    if (command != NULL) {
        (void)snprintf(s->command, sizeof s->command, "%s", command);
        assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    }
}

void suite_server_stop(struct suite_server *s)
{
    (void)shutdown(s->listen_fd, SHUT_RDWR);
    if (s->command[0] != '\0') {
        (void)pthread_join(s->thread, NULL);
    }
    close(s->listen_fd);
}

/* --- the fixture ---------------------------------------------------------------------------- */

static void append_layer(struct buf *out, const char *key, const char *json)
{
    buf_printf(out, "\"%s\":\"", key);
    codec_base64(out, slice_of(json));
    buf_append_cstr(out, "\"");
}

/* A JIT config of GitHub's shape that leads the runner to our server. */
static void make_payload(struct vm_fixture *f)
{
    char json[512];
    char base[64];
    struct err e;
    struct buf tree;
    struct buf config;
    buf_init(&tree, 8192);
    buf_init(&config, 16384);
    (void)snprintf(base, sizeof base, "http://%s:%d/", f->real ? "10.0.2.2" : "127.0.0.1",
                   (int)f->server.port);
    buf_append_cstr(&tree, "{");
    (void)snprintf(
        json, sizeof json,
        "{\"AgentId\":\"1\",\"AgentName\":\"suite-1\",\"ServerUrl\":\"%s\",\"ServerUrlV2\":\"%s\"}",
        base, base);
    append_layer(&tree, ".runner", json);
    (void)snprintf(
        json, sizeof json,
        "{\"scheme\":\"OAuth\",\"data\":{\"clientId\":\"%s\",\"authorizationUrl\":\"%stoken\"}}",
        f->secret, base);
    buf_append_cstr(&tree, ",");
    append_layer(&tree, ".credentials", json);
    buf_append_cstr(&tree, ",");
    append_layer(&tree, ".credentials_rsaparams", SUITE_RSA_PARAMETERS);
    buf_append_cstr(&tree, "}");
    codec_base64(&config, buf_slice(&tree));
    struct payload payload = {.jit_config = buf_slice(&config),
                              .idle_seconds = 300,
                              .max_duration_seconds = 600,
                              .runner_name = SLICE("suite-1")};
    buf_init(&f->payload, PAYLOAD_PACKED_MAX);
    MUST(payload_pack(&payload, &f->payload, &e));
    buf_fini(&config);
    buf_fini(&tree);
}

static void copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    char path[1024];
    struct err e;
    struct buf text;
    buf_init(&text, (size_t)64 << 20);
    (void)snprintf(path, sizeof path, "%s/%s", from_dir, name);
    MUST(fs_read(path, &text, &e));
    (void)snprintf(path, sizeof path, "%s/%s", to_dir, name);
    MUST(fs_write_atomic(path, buf_slice(&text), 0755, &e));
    buf_fini(&text);
}

static void copy_image(struct vm_fixture *f)
{
    static const char *const names[] = {"image.json", "kernel", "initrd", "disk.raw"};
    struct err e;
    (void)snprintf(f->image, sizeof f->image, "%s/image", f->store.dir);
    MUST(fs_mkdirs(f->image, 0755, &e));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        copy_file(suite.image, f->image, names[i]);
    }
}

static char *text(const char *s)
{
    return slice_dup(slice_of(s));
}

static void fill_class(struct vm_fixture *f)
{
    f->class =
        (struct config_class){.name = text("small"),
                              .state_dir = f->state_dir,
                              .provider = text("qemu"),
                              .runner_group = text(""),
                              .proxy = {.http = text(""), .https = text(""), .no_proxy = text("")},
                              .settings = &f->settings};
    f->settings = (struct qemu_settings){.image = text(f->image),
                                         .binary = text(f->binary),
                                         .accel = text(f->real ? "auto" : "tcg"),
                                         .cpus = 1,
                                         .memory_bytes = (f->real ? 256 : 16) * MIB,
                                         .memory_overcommit = 1,
                                         .disk_overcommit = 1,
                                         .restore = true,
                                         .network = text("internet"),
                                         .confine = f->real, /* the fake's runner is inside */
                                         .max_console_size_bytes = 65536,
                                         .boot_timeout_ms = WAIT_MS};
}

static void free_class(struct vm_fixture *f)
{
    const struct config_class *c = &f->class;
    const struct qemu_settings *s = &f->settings;
    char *const texts[] = {c->name,        c->provider,       c->runner_group, c->proxy.http,
                           c->proxy.https, c->proxy.no_proxy, s->image,        s->binary,
                           s->accel,       s->network};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        free(texts[i]);
    }
}

/* Its own server is what a VM of the test reaches of this host. */
static void allow_server(struct vm_fixture *f)
{
    (void)snprintf(f->allow, sizeof f->allow, "127.0.0.1:%d", (int)f->server.port);
    f->allow_items[0] = f->allow;
    f->settings.allow = (struct config_list){.items = f->allow_items, .count = 1};
}

static struct vm_fixture *make_fixture(const char *command)
{
    struct vm_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    conformance_store_init(&f->store);
    assert_int_equal(chmod(f->store.dir, 0755), 0);
    f->real = suite.real;
    random_hex(f->secret, 32);
    (void)snprintf(f->deployment, sizeof f->deployment, "t%d", ++suite.tests);
    (void)snprintf(f->binary, sizeof f->binary, "%s", suite.binary);
    if (f->real) {
        (void)snprintf(f->image, sizeof f->image, "%s", suite.image);
        (void)snprintf(f->state_dir, sizeof f->state_dir, "%s", suite.shared_dir);
    } else {
        copy_image(f);
        (void)snprintf(f->state_dir, sizeof f->state_dir, "%s/state", f->store.dir);
    }
    suite_server_start(&f->server, command);
    make_payload(f);
    fill_class(f);
    allow_server(f);
    return f;
}

int vm_fixture_setup(void **state)
{
    struct vm_fixture *f = make_fixture(NULL);
    *state = f;
    vm_fixture_open(f);
    return 0;
}

int vm_fixture_setup_with_job(void **state)
{
    struct vm_fixture *f = make_fixture("echo hello from a job");
    *state = f;
    vm_fixture_open(f);
    return 0;
}

void vm_fixture_open(struct vm_fixture *f)
{
    struct err e;
    vm_close(f->p);
    f->p = NULL;
    MUST(vm_open(&f->class, f->deployment, &f->p, &e));
}

void vm_fixture_faults(struct vm_fixture *f, const char *lines)
{
    char path[640];
    struct err e;
    (void)snprintf(path, sizeof path, "%s/faults", f->image);
    MUST(fs_write_atomic(path, slice_of(lines), 0644, &e));
    /* The stand-in counts in it, as the VM's user. */
    assert_int_equal(chmod(path, 0666), 0);
}

/* --- what is left --------------------------------------------------------------------------- */

/* Processes whose command line or working directory leads to this test's VMs. */
static int processes_left(const struct vm_fixture *f)
{
    char own[1200];
    char path[64];
    char cwd[4096];
    struct buf line;
    int left = 0;
    const struct dirent *entry;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    (void)snprintf(own, sizeof own, "%s/%s.small/", f->state_dir, f->deployment);
    buf_init(&line, (size_t)1 << 20);
    while ((entry = readdir(proc)) != NULL) {
        int64_t pid;
        if (!slice_to_int64(slice_of(entry->d_name), &pid) || pid == (int64_t)getpid()) {
            continue;
        }
        (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
        read_whole(path, &line);
        (void)snprintf(path, sizeof path, "/proc/%d/cwd", (int)pid);
        ssize_t n = readlink(path, cwd, sizeof cwd - 1);
        cwd[n < 0 ? 0 : n] = '\0';
        if (strncmp(cwd, own, strlen(own)) == 0 ||
            (line.len > 0 && memmem(line.data, line.len, own, strlen(own)) != NULL)) {
            (void)fprintf(stderr, "process %d of a VM is left\n", (int)pid);
            left++;
        }
    }
    closedir(proc);
    buf_fini(&line);
    return left;
}

static int files_left(const struct vm_fixture *f)
{
    char path[1200];
    const struct dirent *entry;
    int left = 0;
    (void)snprintf(path, sizeof path, "%s/%s.small", f->state_dir, f->deployment);
    DIR *dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void)fprintf(stderr, "%s/%s is left\n", path, entry->d_name);
            left++;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return left;
}

/* A supervisor whose VM is reported as ended may need a moment to leave. */
static int all_left(const struct vm_fixture *f)
{
    int64_t deadline_ms = clock_mono_ms() + 10000;
    while (processes_left(f) > 0 && clock_mono_ms() < deadline_ms) {
        clock_sleep_until(clock_mono_ms() + 20);
    }
    return processes_left(f) + files_left(f);
}

int vm_fixture_teardown(void **state)
{
    struct vm_fixture *f = *state;
    struct vm_info *list = NULL;
    size_t n = 0;
    struct err e;
    int left = all_left(f);
    /* A failed test must not leave its VMs to the next. */
    if (left > 0 && vm_list(f->p, &list, &n, &e) == 0) {
        for (size_t i = 0; i < n; i++) {
            (void)!vm_terminate(f->p, list[i].id, 0, &e);
        }
        free(list);
    }
    vm_close(f->p);
    suite_server_stop(&f->server);
    buf_fini(&f->payload);
    free_class(f);
    conformance_store_fini(&f->store);
    free(f);
    return left == 0 ? 0 : -1;
}

/* --- VMs ------------------------------------------------------------------------------------ */

struct vm_spec vm_fixture_spec(const struct vm_fixture *f, const char *name)
{
    return (struct vm_spec){.name = name,
                            .client_token = "token-1",
                            .payload = buf_slice(&f->payload),
                            .max_duration_ms = 600000};
}

void must_run(struct vm_fixture *f, const char *name)
{
    char id[VM_ID_MAX + 1];
    struct err e;
    struct vm_spec spec = vm_fixture_spec(f, name);
    MUST(vm_run(f->p, &spec, id, &e));
    assert_string_equal(id, name);
}

struct vm_info must_describe(struct vm_fixture *f, const char *id)
{
    struct vm_info info;
    struct err e;
    MUST(vm_describe(f->p, id, &info, &e));
    return info;
}

struct vm_info must_reach(struct vm_fixture *f, const char *id, enum vm_run_state state)
{
    int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    for (;;) {
        struct vm_info info = must_describe(f, id);
        if (info.state == state) {
            return info;
        }
        if (clock_mono_ms() >= deadline_ms) {
            fail_msg("VM %s is %s and does not become %s", id, vm_run_state_name(info.state),
                     vm_run_state_name(state));
        }
        clock_sleep_until(clock_mono_ms() + 5);
    }
}

void must_have_started_by(struct vm_fixture *f, const char *mode)
{
    char path[2048];
    char wanted[64];
    struct buf record;
    buf_init(&record, 65536);
    vm_file(f, "vm-1", "vm.json", path);
    read_whole(path, &record);
    (void)snprintf(wanted, sizeof wanted, "\"mode\": \"%s\"", mode);
    assert_non_null(strstr(record.data, wanted));
    buf_fini(&record);
}

void must_end(struct vm_fixture *f, const char *id)
{
    struct err e;
    MUST(vm_terminate(f->p, id, 0, &e));
    MUST(vm_forget(f->p, id, &e));
}

void vm_file(const struct vm_fixture *f, const char *name, const char *file, char *out)
{
    (void)snprintf(out, 2048, "%s/%s.small/%s%s%s", f->state_dir, f->deployment, name,
                   file == NULL ? "" : "/", file == NULL ? "" : file);
}

void read_whole(const char *path, struct buf *out)
{
    struct err e;
    buf_reset(out);
    if (fs_read(path, out, &e) != 0) {
        buf_reset(out);
    }
}

pid_t vm_pid(const struct vm_fixture *f, const char *name, const char *role)
{
    char path[2048];
    char key[32];
    struct buf record;
    int64_t pid = 0;
    buf_init(&record, 65536);
    vm_file(f, name, "process.json", path);
    read_whole(path, &record);
    (void)snprintf(key, sizeof key, "\"%s\"", role);
    const char *at = record.len > 0 ? strstr(record.data, key) : NULL;
    at = at == NULL ? NULL : strstr(at, "\"pid\": ");
    assert_non_null(at);
    struct slice number = slice_of(at + 7);
    struct slice rest;
    (void)slice_cut(number, ',', &number, &rest);
    assert_true(slice_to_int64(number, &pid));
    buf_fini(&record);
    return (pid_t)pid;
}

bool process_is_there(pid_t pid)
{
    char path[64];
    struct buf stat;
    buf_init(&stat, 8192);
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    read_whole(path, &stat);
    const char *close = stat.len > 0 ? strrchr(stat.data, ')') : NULL;
    bool there = close != NULL && strlen(close) > 2 && close[2] != 'Z' && close[2] != 'X';
    buf_fini(&stat);
    return there;
}

void must_die(pid_t pid)
{
    int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    while (process_is_there(pid)) {
        assert_true(clock_mono_ms() < deadline_ms);
        clock_sleep_until(clock_mono_ms() + 5);
    }
}
