#include "common/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log_ring.h"

#define USUAL_BYTES 511
#define TAIL_BYTES 64 /* reserved for "truncated" and "suppressed" */
#define REPEATS_PER_SECOND 10
#define REPEAT_SLOTS 64
#define REPEAT_PROBES 8

/* How often one event, with one error class, was written in the second that began at since_ms. */
struct repeat {
    const char *event;
    enum err_class class;
    int64_t since_ms;
    int64_t written;
    int64_t suppressed;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *program_name = "mayfly";
static int log_fd = 2;
static log_writer_fn *writer;
static void *writer_ctx;
static enum log_level threshold = LOG_INFO;
static struct repeat repeats[REPEAT_SLOTS];

static const char *const level_names[] = {"debug", "info", "info", "warn", "error"};

void log_open(const char *program, int fd)
{
    program_name = program;
    log_fd = fd;
}

void log_set_writer(log_writer_fn *fn, void *ctx)
{
    writer = fn;
    writer_ctx = ctx;
}

int log_start(struct err *e)
{
    return log_ring_start(log_fd, e);
}

bool log_stop(int64_t timeout_ms)
{
    return log_ring_stop(timeout_ms);
}

void log_set_level(enum log_level level)
{
    __atomic_store_n(&threshold, level, __ATOMIC_RELAXED);
}

bool log_level_parse(const char *text, enum log_level *out)
{
    for (size_t i = 0; i < COUNT_OF(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static bool is_same(const struct repeat *r, const char *event, enum err_class class)
{
    return r->event == event && r->class == class;
}

/* The slot of this event and error class, or the least recently used of the probed slots. */
static struct repeat *find_repeat(const char *event, enum err_class class)
{
    size_t first = ((uintptr_t)event >> 3) + (size_t) class;
    struct repeat *best = &repeats[first % REPEAT_SLOTS];
    for (size_t i = 0; i < REPEAT_PROBES; i++) {
        struct repeat *r = &repeats[(first + i) % REPEAT_SLOTS];
        if (is_same(r, event, class)) {
            return r;
        }
        if (best->event != NULL && (r->event == NULL || r->since_ms < best->since_ms)) {
            best = r;
        }
    }
    return best;
}

/* Counts this line; false if it exceeds the limit. *suppressed: the lines left out before it. */
static bool admit_line(const char *event, enum err_class class, int64_t *suppressed)
{
    struct repeat *r = find_repeat(event, class);
    int64_t now = clock_mono_ms();
    bool known = is_same(r, event, class);
    if (!known || now - r->since_ms >= 1000) {
        *suppressed = known ? r->suppressed : 0;
        *r = (struct repeat){.event = event, .class = class, .since_ms = now, .written = 1};
        return true;
    }
    *suppressed = 0;
    if (r->written >= REPEATS_PER_SECOND) {
        r->suppressed++;
        return false;
    }
    r->written++;
    return true;
}

static void append_log_key(struct buf *b, const char *key)
{
    buf_append(b, SLICE(",\""));
    buf_append_cstr(b, key); /* a literal that needs no escape */
    buf_append(b, SLICE("\":"));
}

static void append_err(struct buf *b, const struct err *e)
{
    append_log_key(b, "error");
    buf_append_json(b, slice_of(e->message));
    append_log_key(b, "error_class");
    buf_append_json(b, slice_of(err_class_name(e->class)));
    if (e->code != 0) {
        append_log_key(b, "error_code");
        buf_append_int(b, e->code);
    }
}

static void append_log_field(struct buf *b, const struct log_field *f)
{
    switch (f->type) {
    case LOG_TYPE_STR:
        append_log_key(b, f->key);
        buf_append_json(b, f->str);
        break;
    case LOG_TYPE_INT:
        append_log_key(b, f->key);
        buf_append_int(b, f->num);
        break;
    case LOG_TYPE_BOOL:
        append_log_key(b, f->key);
        buf_append_cstr(b, f->num ? "true" : "false");
        break;
    case LOG_TYPE_ERR:
        append_err(b, f->err);
        break;
    case LOG_END_OF_FIELDS:
        break;
    }
}

static void append_head(struct buf *b, enum log_level level, const char *event)
{
    char now[32];
    clock_format_utc(clock_wall_ms(), now, sizeof now);
    buf_reserve(b, USUAL_BYTES);
    buf_append(b, SLICE("{\"ts\":\""));
    buf_append_cstr(b, now);
    buf_append(b, SLICE("\",\"level\":\""));
    buf_append_cstr(b, level_names[level]);
    buf_append_byte(b, '"');
    append_log_key(b, "program");
    buf_append_json(b, slice_of(program_name));
    append_log_key(b, "msg");
    buf_append_json(b, slice_of(event));
}

/* Appends the whole field, or nothing if the line would be too long. */
static bool append_field_or_drop(struct buf *b, const struct log_field *f)
{
    size_t before = b->len;
    append_log_field(b, f);
    if (!b->failed && b->len <= LOG_LINE_MAX_BYTES - TAIL_BYTES) {
        return true;
    }
    b->len = before;
    b->data[before] = '\0';
    b->failed = false;
    return false;
}

static void write_line(struct slice line)
{
    while (line.len > 0) {
        ssize_t n = write(log_fd, line.ptr, line.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return; /* a failure cannot be logged */
        }
        line.ptr += n;
        line.len -= (size_t)n;
    }
}

/* The class of the first error among the fields. */
static enum err_class trouble_of(va_list ap)
{
    for (;;) {
        struct log_field f = va_arg(ap, struct log_field);
        if (f.type == LOG_END_OF_FIELDS || f.type == LOG_TYPE_ERR) {
            return f.type == LOG_TYPE_ERR ? f.err->class : ERR_NONE;
        }
    }
}

static bool is_admitted(const char *event, enum err_class class, int64_t *suppressed)
{
    pthread_mutex_lock(&lock);
    bool admitted = admit_line(event, class, suppressed);
    pthread_mutex_unlock(&lock);
    return admitted;
}

void log_write(enum log_level level, const char *event, ...)
{
    struct buf b;
    struct log_field f;
    bool truncated = false;
    int64_t suppressed = 0;
    va_list ap;
    if (level < __atomic_load_n(&threshold, __ATOMIC_RELAXED)) {
        return;
    }
    va_start(ap, event);
    enum err_class class = trouble_of(ap);
    va_end(ap);
    if (level >= LOG_INFO_LIMITED && !is_admitted(event, class, &suppressed)) {
        return;
    }
    buf_init(&b, LOG_LINE_MAX_BYTES);
    append_head(&b, level, event);
    va_start(ap, event);
    for (f = va_arg(ap, struct log_field); f.type != LOG_END_OF_FIELDS;
         f = va_arg(ap, struct log_field)) {
        truncated = !append_field_or_drop(&b, &f) || truncated;
    }
    va_end(ap);
    if (suppressed > 0) {
        buf_printf(&b, ",\"suppressed\":%lld", (long long)suppressed);
    }
    buf_append_cstr(&b, truncated ? ",\"truncated\":true}\n" : "}\n");
    if (writer != NULL) {
        writer(writer_ctx, buf_slice(&b));
    } else if (!log_ring_put(buf_slice(&b))) {
        pthread_mutex_lock(&lock);
        write_line(buf_slice(&b));
        pthread_mutex_unlock(&lock);
    }
    buf_fini(&b);
}
