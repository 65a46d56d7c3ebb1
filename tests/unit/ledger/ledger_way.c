#include "tests/unit/ledger/ledger_way.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/must.h"

struct job_event way_event(int64_t id, enum job_action action, const char *runner)
{
    struct job_event ev = {.action = action,
                           .job.id = id,
                           .job.run_id = id,
                           .job.run_attempt = 1,
                           .job.installation_id = 99,
                           .job.repository = "octo/app",
                           .status = "queued",
                           .job.name = "build",
                           .job.class_name = "small"};
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    return ev;
}

struct ledger_caps way_caps(void)
{
    return (struct ledger_caps){.fleet = 1000000, .class_max = 1000000};
}

struct ledger_reservation way_reserve(struct ledger *l, int64_t id, struct ledger_caps caps)
{
    return way_reserve_in(l, id, "", caps);
}

struct ledger_reservation way_reserve_in(struct ledger *l, int64_t id, const char *target,
                                         struct ledger_caps caps)
{
    struct job_event ev = way_event(id, JOB_ACTION_QUEUED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = "octo",
                               .caps = caps,
                               .deployment = "test",
                               .provider = "qemu",
                               .host = "box",
                               .target = target};
    struct ledger_reservation out;
    struct err e;
    MUST(ledger_reserve(l, &r, &out, &e));
    return out;
}

void way_note(struct ledger *l, int64_t id, enum job_action action, const char *runner)
{
    struct job_event ev = way_event(id, action, runner);
    struct ledger_effect effect;
    struct err e;
    MUST(ledger_apply_event(l, &ev, "octo", &effect, &e));
}

void way_bring(struct ledger *l, const char *vm, enum ledger_vm_state to)
{
    for (int s = VM_REGISTERED; s <= (int)to; s++) {
        struct ledger_advance a = {.vm = vm, .to = (enum ledger_vm_state)s};
        bool changed = false;
        struct err e;
        a.runner_id = s == VM_REGISTERED ? 7 : 0;
        a.vm_id = s == VM_LAUNCHED ? "vm-1" : NULL;
        MUST(ledger_vm_advance(l, &a, &changed, &e));
        assert_true(changed);
    }
}

void way_end(struct ledger *l, const char *vm, enum ledger_vm_state to)
{
    struct ledger_advance a = {.vm = vm, .to = to};
    bool changed = false;
    struct err e;
    MUST(ledger_vm_advance(l, &a, &changed, &e));
    assert_true(changed);
}

static void way_take(struct ledger *l, const char *bucket)
{
    struct ledger_bucket b = {.name = bucket, .per_second = 100, .burst = 100};
    int64_t wait_ms = -1;
    struct err e;
    MUST(ledger_rate_take(l, &b, 1, &wait_ms, &e));
    assert_int_equal(wait_ms, 0);
}

struct ledger_vm way_launch(struct ledger *l, int64_t id)
{
    struct ledger_caps caps = way_caps();
    struct ledger_capacity room;
    struct err e;
    MUST(ledger_capacity(l, "small", &caps, &room, &e));
    struct ledger_reservation r = way_reserve(l, id, caps);
    struct ledger_advance registered = {.vm = r.vm.name, .to = VM_REGISTERED, .runner_id = 7};
    struct ledger_advance launched = {.vm = r.vm.name, .to = VM_LAUNCHED, .vm_id = "vm-1"};
    assert_int_equal(r.outcome, LEDGER_RESERVED);
    MUST(ledger_vm_advance(l, &registered, NULL, &e));
    way_take(l, "run");
    MUST(ledger_vm_advance(l, &launched, NULL, &e));
    return r.vm;
}

void way_complete(struct ledger *l, int64_t id, const char *vm)
{
    way_note(l, id, JOB_ACTION_COMPLETED, vm);
    way_take(l, "terminate");
    way_end(l, vm, VM_GONE);
}

int64_t way_used(struct ledger *l)
{
    struct ledger_caps caps = way_caps();
    struct ledger_capacity room;
    struct err e;
    MUST(ledger_capacity(l, "small", &caps, &room, &e));
    assert_int_equal(room.fleet_used, room.class_used);
    return room.fleet_used;
}

int way_lines(struct ledger *l, int64_t job_id, const char *what)
{
    struct ledger_entry *lines = NULL;
    size_t n = 0;
    int found = 0;
    struct err e;
    MUST(ledger_timeline(l, job_id, &lines, &n, &e));
    for (size_t i = 0; i < n; i++) {
        found += strcmp(lines[i].what, what) == 0 ? 1 : 0;
    }
    free(lines);
    return found;
}
