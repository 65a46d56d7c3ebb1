/*
 * The timeline of a job as a person reads it.
 *
 * The ledger keeps a line for each step. Here the first is when the ingress had received the delivery;
 * a launch that failed is one line, since the steps of its VM say nothing more; a wait is one line
 * with its length; and what is said again and again is said once, with how often. The end of the console of a VM that failed is
 * shown as it was written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fleet/output.h"
#include "deploy/ctl/why.h"

struct line {
    const struct ledger_entry *of;
    int64_t at_ms;
    int64_t until_ms; /* of a wait that is over, or the last time of one that was repeated */
    int64_t times;
    const char *what;
};

static bool is(const struct ledger_entry *t, const char *what)
{
    return strcmp(t->what, what) == 0;
}

/* How a launch ended that led to no VM (worker/launch_end.c); the next VM is launched elsewhere. */
static bool is_failed_launch(const struct ledger_entry *t)
{
    return t->job_id != 0 && t->vm[0] != '\0' &&
           (is(t, "retry") || is(t, "wait") || is(t, "elsewhere") || is(t, "dead_letter"));
}

/* Whether the line is a step of a launch that has such a line. */
static bool is_part_of_failure(const struct why_facts *f, const struct ledger_entry *t)
{
    if (t->vm[0] == '\0' || is_failed_launch(t) || is(t, FLEET_OUTPUT_LINE)) {
        return false;
    }
    for (size_t i = 0; i < f->timeline_count; i++) {
        if (is_failed_launch(&f->timeline[i]) && strcmp(f->timeline[i].vm, t->vm) == 0) {
            return true;
        }
    }
    return false;
}

/* The next line about the job itself ends the wait. */
static int64_t end_of_wait(const struct why_facts *f, size_t i)
{
    for (size_t k = i + 1; k < f->timeline_count; k++) {
        if (f->timeline[k].job_id == f->id) {
            return f->timeline[k].at_ms;
        }
    }
    return f->job.state == JOB_WAITING ? 0 : f->job.updated_ms;
}

/* What says the same as an earlier line. Each wait is one of its own. */
static struct line *find_same(struct line *lines, size_t n, const struct ledger_entry *t)
{
    for (size_t i = n; i-- > 0 && !is(t, "waits");) {
        bool same = is(t, lines[i].of->what) && strcmp(t->detail, lines[i].of->detail) == 0 &&
                    t->job_id == lines[i].of->job_id;
        bool of_vm = t->job_id == 0 || (t->vm[0] != '\0' && !is_failed_launch(t));
        if (same && !of_vm) {
            return &lines[i];
        }
    }
    return NULL;
}

/* A worker logs it when the job has got its slot, which the wait led to. */
static void move_before_slot(struct line *lines, size_t n)
{
    const struct line wait = lines[n - 1];
    if (n > 1 && is(wait.of, "waited") && is(lines[n - 2].of, "reserved")) {
        lines[n - 1] = lines[n - 2];
        lines[n - 2] = wait;
        lines[n - 2].at_ms = lines[n - 1].at_ms;
    }
}

static size_t arrange(const struct why_facts *f, struct line *lines)
{
    size_t n = 0;
    for (size_t i = 0; i < f->timeline_count; i++) {
        const struct ledger_entry *t = &f->timeline[i];
        struct line *same = find_same(lines, n, t);
        if (same != NULL) {
            same->times++;
            same->until_ms = t->at_ms;
        } else if (!is_part_of_failure(f, t)) {
            lines[n++] = (struct line){.of = t, .at_ms = t->at_ms, .times = 1, .what = t->what};
            bool over = is(t, "waits") && end_of_wait(f, i) > 0;
            lines[n - 1].until_ms = over ? end_of_wait(f, i) : 0;
            lines[n - 1].what = over ? "waited" : t->what;
            move_before_slot(lines, n);
        }
    }
    return n;
}

/* A job waits since its delivery was received, which the ledger may have learned later. */
static void begin_with_receipt(const struct why_facts *f, struct line *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is(lines[i].of, "queued") && f->job.waiting_ms > 0 &&
            f->job.waiting_ms < lines[i].at_ms) {
            lines[i].at_ms = f->job.waiting_ms;
        }
    }
    bool received =
        n > 0 && (is(lines[0].of, "queued") || is(lines[0].of, "held") || is(lines[0].of, "seen"));
    if (received) {
        lines[0].what = "received";
    }
}

static void add_line(json_t *list, const struct line *line, int64_t first_ms, int64_t last_ms)
{
    char detail[sizeof line->of->detail + 64];
    char length[24];
    json_t *o;
    (void)snprintf(detail, sizeof detail, "%s", line->of->detail);
    if (strcmp(line->what, "waited") == 0 && line->until_ms > 0) {
        (void)snprintf(detail, sizeof detail, "%s %s",
                       ctl_duration(line->until_ms - line->at_ms, length), line->of->detail);
    }
    o = json_pack("{s:o, s:I, s:I, s:o, s:o, s:o}", "at", ctl_time(line->at_ms), "since_start_ms",
                  (json_int_t)(line->at_ms - first_ms), "since_last_ms",
                  (json_int_t)(line->at_ms - last_ms), "vm", ctl_text(line->of->vm), "what",
                  ctl_text(line->what), "detail", ctl_text(detail));
    if (line->until_ms > 0 && line->times == 1) {
        json_object_set_new(o, "until", ctl_time(line->until_ms));
        json_object_set_new(o, "waited_ms", json_integer(line->until_ms - line->at_ms));
    }
    if (line->times > 1) {
        json_object_set_new(o, "times", json_integer(line->times));
        json_object_set_new(o, "last_at", ctl_time(line->until_ms));
    }
    json_array_append_new(list, o);
}

/* Its delivery is on the queue, and the ledger has not seen it. */
static void add_receipt(const struct why_facts *f, json_t *list)
{
    const struct ledger_entry received = {.what = "received",
                                          .detail = "its message is on the queue"};
    const struct line line = {.of = &received,
                              .at_ms = f->job.waiting_ms > 0 ? f->job.waiting_ms
                                                             : f->entry.message.enqueued_ms,
                              .times = 1,
                              .what = received.what};
    add_line(list, &line, line.at_ms, line.at_ms);
}

json_t *why_timeline(const struct why_facts *f)
{
    json_t *list = json_array();
    struct line *lines = calloc(f->timeline_count + 1, sizeof *lines);
    ASSERT(lines != NULL);
    size_t n = arrange(f, lines);
    begin_with_receipt(f, lines, n);
    for (size_t i = 0; i < n; i++) {
        add_line(list, &lines[i], lines[0].at_ms, lines[i > 0 ? i - 1 : 0].at_ms);
    }
    if (n == 0 && f->in_queue) {
        add_receipt(f, list);
    }
    free(lines);
    return list;
}
