/* QEMU's second monitor: says when the VM is paused, and resumes it when it is asked to. */
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "tests/fakes/qemu/fake_qemu.h"

static int monitor_fd = -1;
static const char *status = "running";

static void monitor_say(const char *text)
{
    (void)send(monitor_fd, text, strlen(text), MSG_NOSIGNAL);
    (void)send(monitor_fd, "\r\n", 2, MSG_NOSIGNAL);
}

static void monitor_event(const char *name)
{
    struct buf text;
    buf_init(&text, 256);
    buf_printf(&text, "{\"event\": \"%s\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 0}}",
               name);
    monitor_say(text.data);
    buf_fini(&text);
}

static void disk_fails(const char *action)
{
    struct buf text;
    buf_init(&text, 512);
    buf_printf(&text,
               "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"device\": \"\", \"nospace\": true, "
               "\"node-name\": \"disk\", \"reason\": \"No space left on device\", \"operation\": "
               "\"write\", \"action\": \"%s\"}, \"timestamp\": {\"seconds\": 1, "
               "\"microseconds\": 0}}",
               action);
    monitor_say(text.data);
    buf_fini(&text);
}

void fake_monitor_open(int fd)
{
    monitor_fd = fd;
    monitor_say("{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}");
}

int fake_monitor_fd(void)
{
    return monitor_fd;
}

static void monitor_command(const char *name)
{
    struct buf text;
    buf_init(&text, 256);
    if (strcmp(name, "query-status") == 0) {
        buf_printf(&text, "{\"return\": {\"status\": \"%s\", \"running\": false}}", status);
        monitor_say(text.data);
    } else {
        monitor_say("{\"return\": {}}");
    }
    if (strcmp(name, "cont") == 0 && strcmp(status, "io-error") == 0) {
        status = "running";
        monitor_event("RESUME");
    }
    buf_fini(&text);
}

/* The supervisor sends a line at a time. */
void fake_monitor_serve(void)
{
    char chunk[1024];
    ssize_t n = recv(monitor_fd, chunk, sizeof chunk, 0);
    struct slice rest = {chunk, n < 0 ? 0 : (size_t)n};
    struct slice line;
    if (n <= 0) {
        close(monitor_fd);
        monitor_fd = -1;
    }
    while (rest.len > 0) {
        (void)slice_cut(rest, '\n', &line, &rest);
        json_t *tree = json_loadb(line.ptr, line.len, 0, NULL);
        const char *name = json_string_value(json_object_get(tree, "execute"));
        monitor_command(name == NULL ? "" : name);
        json_decref(tree);
    }
}

void fake_monitor_started(void)
{
    if (fake_fault("io-error!", NULL)) {
        disk_fails("report");
    }
    if (fake_fault("io-pause!", NULL)) {
        status = "io-error";
        disk_fails("stop");
        monitor_event("STOP");
    }
    if (fake_fault("broken-pause!", NULL)) {
        status = "internal-error";
        monitor_event("STOP");
    }
}
