#include "common/base/sqlite_turn.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/random.h"

/* Longer than the transactions of a handful of processes on a good disk; and what each transaction
 * loses while a process that holds the turn is frozen. */
#define TAKE_WAIT_MS 250
#define PLACES 8 /* so many processes wait in order; more of them, by chance */
#define PAUSE_MIN_US 30
#define PAUSE_MAX_US 500

int sqlite_turn_open(const char *path)
{
    char beside[PATH_MAX];
    int n = snprintf(beside, sizeof beside, "%s-turn", path);
    if (n < 0 || (size_t)n >= sizeof beside) {
        return -1;
    }
    return open(beside, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
}

void sqlite_turn_close(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

/* Place 0 is the turn, the others are the line before it: each is a byte of the file. */
static bool lock_place(int fd, int place)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static void leave_place(int fd, int place)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}

static bool wait_place(int fd, int place, int64_t give_up_us)
{
    int64_t pause_us = PAUSE_MIN_US;
    while (!lock_place(fd, place)) {
        if (clock_mono_us() >= give_up_us) {
            return false;
        }
        struct timespec ts = {0, (long)(PAUSE_MIN_US + random_below((uint64_t)pause_us)) * 1000};
        (void)nanosleep(&ts, NULL);
        pause_us = pause_us * 2 < PAUSE_MAX_US ? pause_us * 2 : PAUSE_MAX_US;
    }
    return true;
}

bool sqlite_turn_take(int fd)
{
    if (fd < 0) {
        return false;
    }
    int64_t give_up_us = clock_mono_us() + TAKE_WAIT_MS * 1000;
    for (int place = PLACES - 1; place >= 0; place--) {
        bool got = wait_place(fd, place, give_up_us);
        if (place < PLACES - 1) {
            leave_place(fd, place + 1);
        }
        if (!got) {
            return false;
        }
    }
    return true;
}

void sqlite_turn_give(int fd)
{
    leave_place(fd, 0);
}
