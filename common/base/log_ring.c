#include "common/base/log_ring.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cond.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"

#define CRASH_POLL_MS 10
/* After it has written all there was, the writer rests: waking it for each line costs a busy program more
 * than the line. Lines that fill so much of the ring meanwhile end the rest. */
#define REST_MS 5
#define REST_MAX_BYTES (LOG_RING_BYTES / 4)

/*     OFF --start--> RUNNING --stop--> STOPPING --written--> OFF
 *                                         `--timeout--> STOPPED (until the process ends)       */
enum ring_state { RING_OFF, RING_RUNNING, RING_STOPPING, RING_STOPPED };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work; /* for the writer: there are lines, or it is to stop */
    pthread_cond_t done; /* for log_ring_stop: the writer has finished */
    enum ring_state state;
    bool finished;
    bool resting;
    char *bytes;  /* LOG_RING_BYTES */
    size_t first; /* where the oldest line begins */
    size_t used;
    int64_t dropped;  /* since log_lines_dropped was last logged */
    size_t unwritten; /* atomic: used, and what the writer has taken; for the signal handler */
    int fd;
    pthread_t writer;
    struct metric *dropped_total;
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Under the lock, as the functions up to the writer. */
static void set_unwritten(size_t bytes)
{
    __atomic_store_n(&ring.unwritten, bytes, __ATOMIC_RELAXED);
}

static void drop_lines(int64_t lines)
{
    ring.dropped += lines;
    metric_add(ring.dropped_total, lines);
}

static void append_line(struct slice line)
{
    size_t at = (ring.first + ring.used) % LOG_RING_BYTES;
    size_t until_end = LOG_RING_BYTES - at;
    size_t n = line.len < until_end ? line.len : until_end;
    memcpy(ring.bytes + at, line.ptr, n);
    memcpy(ring.bytes, line.ptr + n, line.len - n);
    ring.used += line.len;
}

/* The whole lines at the front that fit PIPE_BUF, or else the first line. */
static size_t take_lines(char out[LOG_LINE_MAX_BYTES])
{
    size_t n = ring.used < LOG_LINE_MAX_BYTES ? ring.used : LOG_LINE_MAX_BYTES;
    size_t until_end = LOG_RING_BYTES - ring.first;
    size_t head = n < until_end ? n : until_end;
    memcpy(out, ring.bytes + ring.first, head);
    memcpy(out + head, ring.bytes, n - head);
    const char *last = memrchr(out, '\n', n < PIPE_BUF ? n : PIPE_BUF);
    last = last != NULL ? last : memchr(out, '\n', n);
    ASSERT(last != NULL);
    n = (size_t)(last + 1 - out);
    ring.used -= n;
    ring.first =
        ring.used > 0 ? (ring.first + n) % LOG_RING_BYTES : 0; /* in memory that is in use */
    return n;
}

/* Whether the writer waits for what the line brings. */
static bool is_awaited(size_t line_bytes)
{
    if (ring.resting) {
        return ring.used < REST_MAX_BYTES && ring.used + line_bytes >= REST_MAX_BYTES;
    }
    return ring.used == 0;
}

bool log_ring_put(struct slice line)
{
    pthread_mutex_lock(&ring.lock);
    bool exists = ring.state != RING_OFF;
    bool wake = false;
    if (exists && (ring.state == RING_STOPPED || ring.used + line.len > LOG_RING_BYTES)) {
        drop_lines(1);
    } else if (exists) {
        wake = is_awaited(line.len);
        append_line(line);
        set_unwritten(ring.used);
    }
    pthread_mutex_unlock(&ring.lock);
    if (wake) {
        pthread_cond_signal(&ring.work);
    }
    return exists;
}

/* --- the writer ------------------------------------------------------------------------------ */

/* Blocks for as long as the descriptor does. False: it failed, and the rest is lost. */
static bool write_whole(int fd, struct slice lines)
{
    while (lines.len > 0) {
        ssize_t n = write(fd, lines.ptr, lines.len);
        if (n > 0) {
            lines.ptr += n;
            lines.len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            (void)poll(&p, 1, -1);
        } else if (n == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

static int64_t count_lines(struct slice lines)
{
    int64_t count = 0;
    for (size_t i = 0; i < lines.len; i++) {
        count += lines.ptr[i] == '\n';
    }
    return count;
}

/* After lines were written. Not before half of the ring is free, so that it is not said for every
 * few lines while the reader is merely slow. */
static void report_dropped(void)
{
    pthread_mutex_lock(&ring.lock);
    bool flows = ring.dropped > 0 && ring.used <= LOG_RING_BYTES / 2;
    int64_t lines = flows ? ring.dropped : 0;
    ring.dropped -= lines;
    pthread_mutex_unlock(&ring.lock);
    if (lines > 0) {
        log_warn("log_lines_dropped", LOG_INT("lines", lines),
                 LOG_STR("reason", "the reader of standard error was too slow, or writing failed"));
    }
}

/* Under the lock, which it gives up meanwhile. */
static void write_some(void)
{
    char lines[LOG_LINE_MAX_BYTES];
    struct slice taken = {lines, take_lines(lines)};
    pthread_mutex_unlock(&ring.lock);
    bool written = write_whole(ring.fd, taken);
    pthread_mutex_lock(&ring.lock);
    set_unwritten(ring.used);
    if (!written) {
        drop_lines(count_lines(taken));
    } else if (ring.dropped > 0) {
        pthread_mutex_unlock(&ring.lock);
        report_dropped();
        pthread_mutex_lock(&ring.lock);
    }
}

/* Under the lock. */
static void rest(void)
{
    int64_t until_us = cond_deadline_us(REST_MS);
    bool in_time = true;
    ring.resting = true;
    while (in_time && ring.state == RING_RUNNING && ring.used < REST_MAX_BYTES) {
        in_time = cond_wait_until(&ring.work, &ring.lock, until_us);
    }
    ring.resting = false;
}

static void *write_until_stopped(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&ring.lock);
    for (;;) {
        while (ring.used == 0 && ring.state == RING_RUNNING) {
            pthread_cond_wait(&ring.work, &ring.lock);
        }
        if (ring.used == 0) {
            break;
        }
        while (ring.used > 0) {
            write_some();
        }
        rest();
    }
    ring.finished = true;
    pthread_cond_signal(&ring.done);
    pthread_mutex_unlock(&ring.lock);
    return NULL;
}

/* --- the end of the process ------------------------------------------------------------------ */

/* Only what signal-safety(7) allows. The handler is reset, so that the signal then ends the
 * process. */
static void on_crash(int signal_number)
{
    const struct timespec pause = {.tv_nsec = CRASH_POLL_MS * 1000000L};
    for (int waited_ms = 0;
         waited_ms < LOG_CRASH_WAIT_MS && __atomic_load_n(&ring.unwritten, __ATOMIC_RELAXED) > 0;
         waited_ms += CRASH_POLL_MS) {
        (void)nanosleep(&pause, NULL);
    }
    (void)raise(signal_number);
}

static void watch_for_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    const struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < COUNT_OF(signals) && !MAYFLY_SANITIZED; i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
}

int log_ring_start(int fd, struct err *e)
{
    ASSERT(ring.state == RING_OFF);
    if (ring.bytes == NULL) {
        cond_init(&ring.work);
        cond_init(&ring.done);
        ring.dropped_total = metrics_counter("mayfly_log_lines_dropped_total", "");
        ring.bytes = malloc(LOG_RING_BYTES); /* kept: a thread may log until the process ends */
        ASSERT(ring.bytes != NULL);
    }
    ring.fd = fd;
    ring.finished = false;
    ring.state = RING_RUNNING;
    if (thread_start(&ring.writer, "the thread that writes the log", write_until_stopped, NULL,
                     e) != 0) {
        ring.state = RING_OFF;
        return -1;
    }
    watch_for_crashes();
    return 0;
}

bool log_ring_stop(int64_t timeout_ms)
{
    int64_t until_us = cond_deadline_us(timeout_ms);
    pthread_mutex_lock(&ring.lock);
    if (ring.state != RING_RUNNING) {
        pthread_mutex_unlock(&ring.lock);
        return true;
    }
    ring.state = RING_STOPPING;
    pthread_cond_signal(&ring.work);
    while (!ring.finished && cond_wait_until(&ring.done, &ring.lock, until_us)) {
    }
    bool finished = ring.finished;
    ring.state = finished ? RING_OFF : RING_STOPPED;
    pthread_mutex_unlock(&ring.lock);
    int failed = finished ? pthread_join(ring.writer, NULL) : pthread_detach(ring.writer);
    ASSERT(failed == 0);
    return finished;
}
