#include "deploy/image/agent/agent_unique.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <linux/rtc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "deploy/image/agent/agent_hosts.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define OWN_BOOT_ID "/run/mayfly-boot-id"
#define HOSTS "/etc/hosts"
#define HOSTS_MAX 65536
#define CREDIT_BITS 256
#define CLOCK_SLACK_MS 2000
/* 2026-01-01: a hardware clock before it was never set. */
#define EARLIEST_WALL_MS 1767225600000

/* Credits the bytes and makes the kernel derive a new key from them at once: without the second
 * step all copies would generate the same bytes for up to five more minutes. */
static int reseed_kernel(int fd, const struct agent_unique *u)
{
    /* struct rand_pool_info: two ints, then the bytes. */
    struct {
        int bits;
        int size;
        unsigned char bytes[UNIQUE_ENTROPY_MAX];
    } pool;
    size_t len = u->entropy.len < sizeof(pool.bytes) ? u->entropy.len : sizeof(pool.bytes);
    pool.bits = u->credit ? CREDIT_BITS : 0;
    pool.size = (int)len;
    if (len > 0) {
        memcpy(pool.bytes, u->entropy.ptr, len);
    }
    int rc = ioctl(fd, RNDADDENTROPY, &pool) != 0 || ioctl(fd, RNDRESEEDCRNG) != 0 ? -1 : 0;
    explicit_bzero(&pool, sizeof(pool));
    return rc;
}

/* Any user may write to the generator: it mixes the bytes in and reseeds at its next interval. */
static int mix_in(int fd, const struct agent_unique *u)
{
    return write(fd, u->entropy.ptr, u->entropy.len) == (ssize_t)u->entropy.len ? 0 : -1;
}

static int set_randomness(const struct agent_unique *u, struct err *e)
{
    int rc = 0;
    int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot open /dev/urandom");
    }
    if (reseed_kernel(fd, u) != 0 && (!u->lenient || errno != EPERM || mix_in(fd, u) != 0)) {
        rc = err_errno(e, ERR_PERMANENT, errno, "cannot reseed the kernel's randomness");
    }
    close(fd);
    return rc;
}

/* Without the fsync of fs_write_atomic: the disk is discarded after the job, and the job waits. */
/* In place, and cut to its length afterwards: a full disk has no block for a file that was emptied. */
static int put_file(const char *path, struct slice text, mode_t mode, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    ssize_t n = fd < 0 ? -1 : write(fd, text.ptr, text.len);
    int errnum = n < 0 ? errno : ENOSPC;
    if (n == (ssize_t)text.len && ftruncate(fd, n) != 0) {
        errnum = errno;
        n = -1;
    }
    if (fd >= 0) {
        close(fd);
    }
    return n == (ssize_t)text.len ? 0
                                  : err_errno(e, ERR_PERMANENT, errnum, "cannot write %s", path);
}

/* The time of the hardware clock, which the host maintains; 0 if it is missing or invalid. */
static int64_t hardware_clock_ms(void)
{
    struct rtc_time rtc;
    int fd = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);
    int64_t ms = 0;
    if (fd >= 0 && ioctl(fd, RTC_RD_TIME, &rtc) == 0) {
        struct tm tm = {.tm_sec = rtc.tm_sec,
                        .tm_min = rtc.tm_min,
                        .tm_hour = rtc.tm_hour,
                        .tm_mday = rtc.tm_mday,
                        .tm_mon = rtc.tm_mon,
                        .tm_year = rtc.tm_year};
        ms = (int64_t)timegm(&tm) * 1000;
    }
    if (fd >= 0) {
        close(fd);
    }
    return ms < EARLIEST_WALL_MS ? 0 : ms;
}

static int set_clock(const struct agent_unique *u, struct err *e)
{
    int64_t wall_ms = u->wall_ms;
    if (wall_ms == 0) {
        int64_t hardware_ms = hardware_clock_ms();
        int64_t off_ms = hardware_ms - clock_wall_ms();
        /* Its resolution is seconds: set the clock only if it stood still. */
        if (hardware_ms == 0 || (off_ms > -CLOCK_SLACK_MS && off_ms < CLOCK_SLACK_MS)) {
            return 0;
        }
        wall_ms = hardware_ms;
    }
    struct timespec ts = {.tv_sec = wall_ms / 1000, .tv_nsec = (wall_ms % 1000) * 1000000};
    if (clock_settime(CLOCK_REALTIME, &ts) != 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot set the clock");
    }
    return 0;
}

static int set_hosts(const char *old_name, const char *new_name, struct err *e)
{
    struct buf old, text;
    struct err failed = {0};
    buf_init(&old, HOSTS_MAX);
    buf_init(&text, HOSTS_MAX + 1024);
    int rc = fs_read(HOSTS, &old, &failed);
    if (rc != 0 && failed.class != ERR_NOT_FOUND) {
        *e = failed;
    } else {
        agent_hosts_rename(buf_slice(&old), slice_of(old_name), slice_of(new_name), &text);
        rc = put_file(HOSTS, buf_slice(&text), 0644, e);
    }
    buf_fini(&old);
    buf_fini(&text);
    return rc;
}

static int set_names(const struct agent_unique *u, struct err *e)
{
    const char *hostname = u->hostname;
    char old_name[256] = "";
    char text[256];
    if (hostname[0] == '\0') {
        return 0;
    }
    (void)gethostname(old_name, sizeof(old_name) - 1);
    if (sethostname(hostname, strlen(hostname)) != 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot set the host name");
    }
    snprintf(text, sizeof(text), "%s\n", hostname);
    if (put_file("/etc/hostname", slice_of(text), 0644, e) != 0) {
        return -1;
    }
    return set_hosts(old_name, hostname, e);
}

static int set_machine_id(const struct agent_unique *u, struct err *e)
{
    (void)u;
    char id[34];
    random_hex(id, 16);
    id[32] = '\n';
    return put_file("/etc/machine-id", (struct slice){id, 33}, 0444, e);
}

/* The kernel creates its boot id once; programs read the file that is mounted over it. */
static int set_boot_id(const struct agent_unique *u, struct err *e)
{
    (void)u;
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

typedef int step_fn(const struct agent_unique *u, struct err *e);

struct step {
    step_fn *fn;
    bool may_lack_space; /* its file is in /run, which is small and which a job may do without */
};

static bool is_forgiven(const struct step *step, const struct err *e)
{
    return e->code == EPERM || e->code == EACCES || e->code == EROFS ||
           (step->may_lack_space && (e->code == ENOSPC || e->code == EDQUOT));
}

/* With `lenient`, a step that is not permitted is not a failure. */
static int take_steps(const struct step steps[], size_t count, const struct agent_unique *u,
                      struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        struct err failed = {0};
        if (steps[i].fn(u, &failed) == 0) {
            continue;
        }
        if (!u->lenient || !is_forgiven(&steps[i], &failed)) {
            *e = failed;
            return -1;
        }
        log_info("identity_step_skipped", LOG_STR("step", failed.message));
    }
    return 0;
}

int agent_unique_apply(const struct agent_unique *u, struct err *e)
{
    static const struct step steps[] = {{.fn = set_randomness},
                                        {.fn = set_clock},
                                        {.fn = set_names},
                                        {.fn = set_machine_id},
                                        {.fn = set_boot_id, .may_lack_space = true}};
    return take_steps(steps, COUNT_OF(steps), u, e);
}

int agent_unique_refresh(const struct agent_unique *u, struct err *e)
{
    static const struct step steps[] = {{.fn = set_randomness}, {.fn = set_clock}};
    return take_steps(steps, COUNT_OF(steps), u, e);
}
