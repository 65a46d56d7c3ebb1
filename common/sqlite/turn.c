#include "common/sqlite/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/sqlite/open.h"

/* Longer than the transactions of several processes on a good disk. It is also the delay of each
 * transaction while a process that holds the turn is frozen. */
#define TURN_WAIT_MS 250
#define PLACES 8 /* processes that wait in order; further ones wait in random order */
/* A waiter polls after this time, since no bell rings for a process that was killed or that writes
 * without turns. */
#define PLACE_POLL_US 2000
#define END_POLL_US 500
#define NO_BELL_PAUSE_US 100 /* between two polls without bells */

/* The file's memory, in every process that has it open. */
struct bells {
    _Atomic uint32_t places[PLACES]; /* how often each place was left */
    _Atomic uint32_t ends;           /* of transactions */
};

struct sqlite_turn {
    int fd;
    struct bells *bells; /* NULL: not available */
};

/* --- bells --- */
static struct bells *map_bells(int fd)
{
    static const struct bells silent;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return NULL;
    }
    /* Written, not only truncated to size: touching mapped memory without disk space behind it is
     * SIGBUS. Two processes that do so at once write the same bytes. */
    if (st.st_size < (off_t)sizeof silent &&
        pwrite(fd, &silent, sizeof silent, 0) != (ssize_t)sizeof silent) {
        return NULL;
    }
    void *m = mmap(NULL, sizeof silent, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return m != MAP_FAILED ? m : NULL;
}

static void pause_us(int64_t us)
{
    struct timespec ts = {0, (long)us * 1000};
    (void)nanosleep(&ts, NULL);
}

static uint32_t bell_count(const _Atomic uint32_t *bell)
{
    return bell != NULL ? atomic_load(bell) : 0;
}

/* Sleeps until the bell rings; returns at once if it rang since it was `seen`. */
static void wait_for_bell(_Atomic uint32_t *bell, uint32_t seen, int64_t longest_us)
{
    struct timespec ts = {0, (long)longest_us * 1000};
    if (bell == NULL) {
        pause_us(NO_BELL_PAUSE_US);
        return;
    }
    long rc = syscall(SYS_futex, bell, FUTEX_WAIT, seen, &ts, NULL, 0);
    if (rc != 0 && errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT) {
        pause_us(NO_BELL_PAUSE_US);
    }
}

static void ring_bell(_Atomic uint32_t *bell)
{
    if (bell != NULL) {
        (void)atomic_fetch_add(bell, 1);
        (void)syscall(SYS_futex, bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

static _Atomic uint32_t *bell_of(struct sqlite_turn *t, int place)
{
    return t->bells != NULL ? &t->bells->places[place] : NULL;
}

/* --- the line --- */

/* Each place is a byte of the file: place 0 is the turn, the others are the line for it. */
static bool lock_place(const struct sqlite_turn *t, int place)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
    return fcntl(t->fd, F_OFD_SETLK, &lock) == 0;
}

static void leave_place(struct sqlite_turn *t, int place)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
    (void)fcntl(t->fd, F_OFD_SETLK, &lock);
    ring_bell(bell_of(t, place));
}

static bool line_is_empty(const struct sqlite_turn *t)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = PLACES - 1};
    return fcntl(t->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

static bool wait_for_place(struct sqlite_turn *t, int place, int64_t give_up_us)
{
    for (;;) {
        uint32_t seen = bell_count(bell_of(t, place));
        if (lock_place(t, place)) {
            return true;
        }
        if (clock_mono_us() >= give_up_us) {
            return false;
        }
        wait_for_bell(bell_of(t, place), seen, PLACE_POLL_US);
    }
}

static bool wait_in_line(struct sqlite_turn *t)
{
    int64_t give_up_us = clock_mono_us() + TURN_WAIT_MS * 1000;
    for (int place = PLACES - 1; place >= 0; place--) {
        bool got = wait_for_place(t, place, give_up_us);
        if (place < PLACES - 1) {
            leave_place(t, place + 1);
        }
        if (!got) {
            return false;
        }
    }
    return true;
}

bool sqlite_turn_take(struct sqlite_turn *t)
{
    if (t == NULL) {
        return false;
    }
    return (line_is_empty(t) && lock_place(t, 0)) || wait_in_line(t);
}

void sqlite_turn_give(struct sqlite_turn *t)
{
    leave_place(t, 0);
}

/* --- the end of a transaction --- */
uint32_t sqlite_turn_ends(const struct sqlite_turn *t)
{
    return t->bells != NULL ? bell_count(&t->bells->ends) : 0;
}

void sqlite_turn_await_end(struct sqlite_turn *t, uint32_t seen)
{
    wait_for_bell(t->bells != NULL ? &t->bells->ends : NULL, seen, END_POLL_US);
}

void sqlite_turn_notify_end(struct sqlite_turn *t)
{
    if (t != NULL && t->bells != NULL) {
        ring_bell(&t->bells->ends);
    }
}

/* --- opening --- */
static bool name_file(const char *path, char *out, size_t size)
{
    int n = snprintf(out, size, "%s-turn", path);
    return n > 0 && (size_t)n < size;
}

static struct sqlite_turn *turn_of(int fd)
{
    if (fd < 0) {
        return NULL;
    }
    struct sqlite_turn *t = calloc(1, sizeof *t);
    ASSERT(t != NULL);
    t->fd = fd;
    t->bells = map_bells(fd);
    return t;
}

struct sqlite_turn *sqlite_turn_open(const char *path)
{
    char beside[PATH_MAX];
    return name_file(path, beside, sizeof beside)
               ? turn_of(fs_create(beside, O_RDWR | O_NOFOLLOW, SQLITE_FILE_MODE))
               : NULL;
}

struct sqlite_turn *sqlite_turn_open_existing(const char *path)
{
    char beside[PATH_MAX];
    return name_file(path, beside, sizeof beside)
               ? turn_of(open(beside, O_RDWR | O_NOFOLLOW | O_CLOEXEC))
               : NULL;
}

void sqlite_turn_close(struct sqlite_turn *t)
{
    if (t == NULL) {
        return;
    }
    if (t->bells != NULL) {
        (void)munmap(t->bells, sizeof *t->bells);
    }
    close(t->fd);
    free(t);
}
