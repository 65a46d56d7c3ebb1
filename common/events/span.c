#include "common/events/span.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define TRACE_ID_BYTES 16
#define SPAN_ID_BYTES 8
#define ROOT "job"

enum { KIND_INTERNAL = 1, STATUS_ERROR = 2 }; /* of trace.proto */

struct span_writer {
    struct buf *out;
    int64_t job_id;
    const char *vm; /* whose spans these are; NULL: the job's */
    bool any;       /* a span was appended */
};

/* --- ids --- */
/* Quoted, in hexadecimal: the first bytes of the SHA-256 of the text, so that whoever has a job's
 * id can compute its trace's. Neither may be all zeros, which no text that is known has. */
static void add_id(struct buf *out, const char *text, size_t bytes)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    int ok = EVP_Digest(text, strlen(text), digest, &length, EVP_sha256(), NULL);
    ASSERT(ok == 1 && bytes <= length);
    buf_append_byte(out, '"');
    for (size_t i = 0; i < bytes; i++) {
        buf_printf(out, "%02x", digest[i]);
    }
    buf_append_byte(out, '"');
}

static void add_trace_id(struct buf *out, int64_t job_id)
{
    char text[64];
    (void)snprintf(text, sizeof text, "mayfly-job-%" PRId64, job_id);
    add_id(out, text, TRACE_ID_BYTES);
}

static void add_span_id(const struct span_writer *w, const char *name)
{
    char text[VM_NAME_SIZE + 32];
    if (w->vm != NULL && strcmp(name, ROOT) != 0) {
        (void)snprintf(text, sizeof text, "%s/%s", w->vm, name);
    } else {
        (void)snprintf(text, sizeof text, "mayfly-job-%" PRId64 "/%s", w->job_id, name);
    }
    add_id(w->out, text, SPAN_ID_BYTES);
}

/* --- attributes; unknown values are left out --- */
static void begin_attribute(struct buf *out, const char *key)
{
    buf_append_cstr(out, out->data[out->len - 1] == '[' ? "" : ",");
    buf_printf(out, "{\"key\":\"mayfly.%s\",\"value\":", key);
}

static void add_text(struct buf *out, const char *key, const char *value)
{
    if (value[0] != '\0') {
        begin_attribute(out, key);
        buf_append_cstr(out, "{\"stringValue\":");
        buf_append_json(out, slice_of(value));
        buf_append_cstr(out, "}}");
    }
}

static void add_number(struct buf *out, const char *key, int64_t value)
{
    if (value != 0) {
        begin_attribute(out, key);
        buf_printf(out, "{\"intValue\":\"%" PRId64 "\"}}", value);
    }
}

static void add_job_attributes(struct buf *out, const struct ledger_job *j)
{
    const struct job *f = &j->facts;
    add_number(out, "job_id", f->id);
    add_number(out, "run_id", f->run_id);
    add_number(out, "run_attempt", f->run_attempt);
    add_text(out, "job_name", f->name);
    add_text(out, "workflow", f->workflow);
    add_text(out, "repository", f->repository);
    add_text(out, "class", f->class_name);
    add_text(out, "vm", f->runner_name);
    add_text(out, "outcome",
             f->conclusion[0] != '\0' ? f->conclusion : ledger_job_state_name(j->state));
    add_number(out, "relaunches", j->relaunches);
}

static void add_vm_attributes(struct buf *out, const struct ledger_vm *v)
{
    add_number(out, "job_id", v->job_id);
    add_number(out, "launched_for", v->for_job);
    add_text(out, "repository", v->repository);
    add_text(out, "class", v->class_name);
    add_text(out, "vm", v->name);
    add_text(out, "vm_id", v->vm_id);
    add_text(out, "provider", v->provider);
    add_text(out, "host", v->host);
    add_text(out, "end_reason", v->end_reason);
}

/* --- spans --- */
/* All of a span but its attributes and its end. Returns whether both of its times are known. The
 * clocks of two processes may differ: no span ends before it begins. */
static bool begin_span(struct span_writer *w, const char *name, const char *parent, int64_t from_ms,
                       int64_t to_ms)
{
    if (from_ms <= 0 || to_ms <= 0) {
        return false;
    }
    struct buf *out = w->out;
    buf_append_cstr(out, w->any ? ",{\"traceId\":" : "{\"traceId\":");
    w->any = true;
    add_trace_id(out, w->job_id);
    buf_append_cstr(out, ",\"spanId\":");
    add_span_id(w, name);
    if (parent != NULL) {
        buf_append_cstr(out, ",\"parentSpanId\":");
        add_span_id(w, parent);
    }
    buf_printf(out,
               ",\"name\":\"%s\",\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64
               "000000\",\"endTimeUnixNano\":\"%" PRId64 "000000\"",
               name, KIND_INTERNAL, from_ms, to_ms > from_ms ? to_ms : from_ms);
    buf_append_cstr(out, ",\"attributes\":[");
    return true;
}

static void add_step(struct span_writer *w, const char *name, const char *parent, int64_t from_ms,
                     int64_t to_ms)
{
    if (begin_span(w, name, parent, from_ms, to_ms)) {
        add_number(w->out, "job_id", w->job_id);
        buf_append_cstr(w->out, "]}");
    }
}

static int64_t first_known(int64_t a, int64_t b)
{
    return a > 0 ? a : b;
}

static bool is_failure(const char *conclusion)
{
    return strcmp(conclusion, "failure") == 0 || strcmp(conclusion, "timed_out") == 0 ||
           strcmp(conclusion, "startup_failure") == 0;
}

static void add_job(struct span_writer *w, const struct ledger_job *j)
{
    int64_t received_ms = first_known(j->waiting_ms, j->running_ms);
    if (begin_span(w, ROOT, NULL, first_known(j->facts.created_ms, received_ms), j->ended_ms)) {
        add_job_attributes(w->out, j);
        buf_append_byte(w->out, ']');
        if (is_failure(j->facts.conclusion)) {
            buf_printf(w->out, ",\"status\":{\"code\":%d}", STATUS_ERROR);
        }
        buf_append_byte(w->out, '}');
    }
    add_step(w, "queued", ROOT, j->facts.created_ms, received_ms);
    add_step(w, "waiting", ROOT, j->waiting_ms, first_known(j->running_ms, j->ended_ms));
    add_step(w, "running", ROOT, j->running_ms, j->ended_ms);
}

static void add_vm(struct span_writer *w, const struct ledger_vm *v)
{
    if (begin_span(w, "vm", ROOT, v->reserved_ms, v->gone_ms)) {
        add_vm_attributes(w->out, v);
        buf_append_cstr(w->out, "]}");
    }
    add_step(w, "reserved", "vm", v->reserved_ms, v->registered_ms);
    add_step(w, "registered", "vm", v->registered_ms, v->launched_ms);
    add_step(w, "launched", "vm", v->launched_ms, v->busy_ms);
    add_step(w, "busy", "vm", v->busy_ms, v->ending_ms);
    add_step(w, "ending", "vm", v->ending_ms, v->gone_ms);
}

void spans_append(struct buf *out, const struct ledger_transition *t)
{
    struct span_writer w = {.out = out};
    if (t->job != NULL && (t->job->state == JOB_DONE || t->job->state == JOB_CANCELLED)) {
        w.job_id = t->job->facts.id;
        add_job(&w, t->job);
    } else if (t->job == NULL && t->vm->state == VM_GONE && t->vm->job_id != 0) {
        w.job_id = t->vm->job_id;
        w.vm = t->vm->name;
        add_vm(&w, t->vm);
    }
}
