#include "deploy/image/agent/agent_unique.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "common/base/random.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define OWN_BOOT_ID "/run/mayfly-boot-id"

/* Credits the host's bytes and makes the kernel draw a new key from them at once: without the
 * second step every copy would give the same bytes for up to five minutes more. */
static int reseed(const unsigned char *entropy, struct err *e)
{
    /* struct rand_pool_info: two ints, then the bytes. */
    const int head[2] = {FRAME_ENTROPY_BYTES * 8, FRAME_ENTROPY_BYTES};
    _Alignas(int) unsigned char pool[sizeof(head) + FRAME_ENTROPY_BYTES];
    int rc = 0;
    int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot open /dev/urandom");
    }
    memcpy(pool, head, sizeof(head));
    memcpy(pool + sizeof(head), entropy, FRAME_ENTROPY_BYTES);
    if (ioctl(fd, RNDADDENTROPY, pool) != 0 || ioctl(fd, RNDRESEEDCRNG) != 0) {
        rc = err_errno(e, ERR_PERMANENT, errno, "cannot reseed the kernel's randomness");
    }
    close(fd);
    explicit_bzero(pool, sizeof(pool));
    return rc;
}

/* Without the fsync of fs_write_atomic: the disk is thrown away, and a job waits. */
static int put_file(const char *path, struct slice text, mode_t mode, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0 || write(fd, text.ptr, text.len) != (ssize_t)text.len) {
        err_errno(e, ERR_PERMANENT, errno, "cannot write %s", path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    close(fd);
    return 0;
}

static int set_clock(int64_t wall_ms, struct err *e)
{
    struct timespec ts = {.tv_sec = wall_ms / 1000, .tv_nsec = (wall_ms % 1000) * 1000000};
    if (clock_settime(CLOCK_REALTIME, &ts) != 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot set the clock");
    }
    return 0;
}

static int set_names(const char *hostname, struct err *e)
{
    char text[256];
    if (sethostname(hostname, strlen(hostname)) != 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot set the host name");
    }
    snprintf(text, sizeof(text), "%s\n", hostname);
    if (put_file("/etc/hostname", slice_of(text), 0644, e) != 0) {
        return -1;
    }
    snprintf(text, sizeof(text), "127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost\n", hostname);
    return put_file("/etc/hosts", slice_of(text), 0644, e);
}

static int set_machine_id(struct err *e)
{
    char id[34];
    random_hex(id, 16);
    id[32] = '\n';
    return put_file("/etc/machine-id", (struct slice){id, 33}, 0444, e);
}

/* The kernel makes its boot id once; a file mounted over it is what programs read from now on. */
static int set_boot_id(struct err *e)
{
    char hex[33], id[38];
    random_hex(hex, 16);
    hex[12] = '4';
    hex[16] = 'a';
    int n = snprintf(id, sizeof(id), "%.8s-%.4s-%.4s-%.4s-%.12s\n", hex, hex + 8, hex + 12,
                     hex + 16, hex + 20);
    if (put_file(OWN_BOOT_ID, (struct slice){id, (size_t)n}, 0444, e) != 0) {
        return -1;
    }
    if (mount(OWN_BOOT_ID, BOOT_ID, NULL, MS_BIND, NULL) != 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot mount a new boot id");
    }
    return 0;
}

int agent_unique_apply(const struct frame *frame, struct err *e)
{
    if (reseed(frame->entropy, e) != 0 || set_clock(frame->wall_ms, e) != 0 ||
        set_names(frame->hostname, e) != 0 || set_machine_id(e) != 0 || set_boot_id(e) != 0) {
        return -1;
    }
    return 0;
}
