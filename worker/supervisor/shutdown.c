#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/vm/qemu/args.h"
#include "common/vm/qemu/qmp.h"
#include "worker/supervisor/supervisor.h"

/* The text is short: it fits into the socket's buffer or is not sent. */
static void send_once(int run_fd, const char *socket, struct slice text)
{
    int fd;
    struct err ignored;
    if (qemu_connect(run_fd, socket, 0, NULL, NULL, &fd, &ignored) == 0) {
        (void)!qemu_send(fd, text, 0, &ignored);
    }
}

void supervisor_ask_guest(const char *dir)
{
    char path[PATH_MAX];
    int run_fd = open(qemu_path(path, dir, "run"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (run_fd >= 0) {
        send_once(run_fd, QEMU_PAYLOAD_SOCKET, SLICE("MAYFLY1 END\n"));
        send_once(
            run_fd, QEMU_QMP_SOCKET,
            SLICE("{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"system_powerdown\"}\n"));
        close(run_fd);
    }
}
