#include "tests/unit/ctl/why_bed.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/job/publish.h"
#include "common/ledger/programs.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_github.h"

static const char text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\", \"runner_group\": \"Fleet\", \"repositories\": [\"acme/*\"]},"
    " \"sources\": [{\"scale_set\": \"blue\", \"class\": \"small\", \"organization\": \"acme\"}],"
    " \"limits\": {\"max_vms\": 3, \"max_vms_per_repository\": 2}, \"classes\": ["
    "{\"name\": \"small\", \"labels\": [\"self-hosted\", \"small\"], \"max_vms\": 2, "
    "\"idle_timeout\": \"10m\", "
    "\"provider\": \"qemu\", \"qemu\": {\"image\": \"/none\"}},"
    "{\"name\": \"old\", \"labels\": [\"self-hosted\", \"old\"], \"max_vms\": 0, "
    "\"provider\": \"qemu\", \"qemu\": {\"image\": \"/none\"}},"
    "{\"name\": \"far\", \"labels\": [\"self-hosted\", \"far\"], \"provider\": \"lambda\", "
    "\"targets\": [{\"name\": \"west\", \"max_vms\": 1, \"image\": "
    "\"arn:aws:lambda:us-west-2:123456789012:microvm-image:far\"}]},"
    "{\"name\": \"drained\", \"labels\": [\"self-hosted\", \"drained\"], \"provider\": "
    "\"lambda\", \"targets\": [{\"name\": \"east\", \"weight\": 0, \"image\": "
    "\"arn:aws:lambda:us-east-1:123456789012:microvm-image:drained\"}]}]}";

struct config *why_bed_config;
struct ctl why_bed_ctl;
char why_bed_url[48];
char why_bed_given[200];
static char *argv[] = {why_bed_given};

int why_bed_set_up(void **state)
{
    static int times;
    struct err e;
    (void)state;
    (void)snprintf(why_bed_url, sizeof why_bed_url, "memory://ctl-why-%d", ++times);
    (void)snprintf(why_bed_given, sizeof why_bed_given, "7");
    calls_reset();
    scripted_github_reset();
    MUST(config_parse(slice_of(text), "test", CONFIG_FOR_CTL_GITHUB, &why_bed_config, NULL, &e));
    why_bed_ctl = (struct ctl){.config = why_bed_config, .argc = 1, .argv = argv};
    why_bed_config->path = strdup("/etc/m.yaml");
    MUST(ledger_open(why_bed_url, &why_bed_ctl.ledger, &e));
    MUST(queue_open(why_bed_url, &why_bed_ctl.queue, &e));
    return 0;
}

int why_bed_tear_down(void **state)
{
    (void)state;
    queue_close(why_bed_ctl.queue);
    ledger_close(why_bed_ctl.ledger);
    config_free(why_bed_config);
    return 0;
}

struct job_event why_bed_event(int64_t id, enum job_action action, const char *class_name)
{
    struct job_event ev = {
        .action = action,
        .status = "queued",
        .received_ms = clock_wall_ms() - WHY_BED_WAITED_MS,
        .job = {.id = id, .run_id = id, .repository = "acme/app", .organization = "acme"}};
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "%s", class_name);
    (void)snprintf(ev.job.labels, sizeof ev.job.labels, "self-hosted,%s", class_name);
    return ev;
}

void why_bed_apply(const struct job_event *ev)
{
    struct ledger_effect effect;
    struct err e;
    MUST(ledger_apply_event(why_bed_ctl.ledger, ev, "acme", &effect, &e));
}

void why_bed_queued(int64_t id, const char *class_name)
{
    const struct job_event ev = why_bed_event(id, JOB_ACTION_QUEUED, class_name);
    why_bed_apply(&ev);
}

void why_bed_ended(const char *conclusion, const char *runner)
{
    struct job_event ev = why_bed_event(7, JOB_ACTION_COMPLETED, "small");
    ev.received_ms = 0;
    why_bed_queued(7, "small");
    (void)snprintf(ev.job.conclusion, sizeof ev.job.conclusion, "%s", conclusion);
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    why_bed_apply(&ev);
}

void why_bed_put(int64_t id, const char *class_name)
{
    const struct job_event ev = why_bed_event(id, JOB_ACTION_QUEUED, class_name);
    const struct launch_request request = launch_request_of(&ev);
    struct job_message m;
    struct err e;
    job_message_of_launch(&request, 1, &m);
    MUST(job_publish(why_bed_ctl.queue, &m, &e));
    job_message_fini(&m);
}

void why_bed_worker(const char *classes)
{
    int64_t version = 0;
    struct ledger_program p = {.id = "mayfly-worker/host-1/1",
                               .version = "1",
                               .oldest_format = 1,
                               .newest_format = 1,
                               .interval_ms = 10000,
                               .is_host = true,
                               .host_name = "box"};
    struct err e;
    (void)snprintf(p.classes, sizeof p.classes, "%s", classes);
    MUST(ledger_program_beat(why_bed_ctl.ledger, &p, &version, &e));
}

void why_bed_in_lane(const char *class_name, const char *workers)
{
    why_bed_worker(workers);
    why_bed_queued(7, class_name);
    why_bed_put(7, class_name);
}

void why_bed_receive(const char *lane, struct queue_message *m)
{
    struct err e;
    size_t got = 0;
    memset(m, 0, sizeof *m);
    MUST(queue_receive(why_bed_ctl.queue, lane, 1, 60000, 0, m, &got, &e));
    assert_int_equal(got, 1);
}

void why_bed_dead_letter(const char *lane, const char *reason)
{
    struct queue_message m;
    struct err e;
    why_bed_receive(lane, &m);
    m.attempts = 8;
    MUST(queue_dead_letter(why_bed_ctl.queue, &m, reason, &e));
    queue_message_fini(&m);
}

void why_bed_returned(const char *reason, bool spent)
{
    struct queue_message m;
    struct err e;
    const struct queue_return back = {.delay_ms = 90000, .spend_attempt = spent, .reason = reason};
    why_bed_receive("launch.small", &m);
    MUST(queue_nack(why_bed_ctl.queue, &m, &back, &e));
    queue_message_fini(&m);
}

/* A VM launched for that job, of any class. */
struct ledger_vm *why_bed_vm(int64_t id, const char *class_name, enum ledger_vm_state state)
{
    struct job_event ev = why_bed_event(id, JOB_ACTION_QUEUED, class_name);
    const struct launch_request request = launch_request_of(&ev);
    struct ledger_reservation res;
    const struct ledger_reserve reserve = {.request = &request,
                                           .scope = "acme",
                                           .caps = {.fleet = 99, .class_max = 99},
                                           .deployment = "t",
                                           .provider = "qemu",
                                           .host = "host-1"};
    struct err e;
    MUST(ledger_reserve(why_bed_ctl.ledger, &reserve, &res, &e));
    assert_int_equal(res.outcome, LEDGER_RESERVED);
    struct ledger_advance a = {.vm = res.vm.name, .to = VM_REGISTERED, .runner_id = 9};
    if (state >= VM_REGISTERED) {
        MUST(ledger_vm_advance(why_bed_ctl.ledger, &a, NULL, &e));
    }
    a.to = VM_LAUNCHED;
    a.vm_id = "i-1";
    if (state >= VM_LAUNCHED) {
        MUST(ledger_vm_advance(why_bed_ctl.ledger, &a, NULL, &e));
    }
    if (state >= VM_BUSY) {
        ev.action = JOB_ACTION_IN_PROGRESS;
        (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", res.vm.name);
        why_bed_apply(&ev);
    }
    if (state == VM_GONE) {
        a.to = VM_ENDING;
        MUST(ledger_vm_advance(why_bed_ctl.ledger, &a, NULL, &e));
        a.to = VM_GONE;
        MUST(ledger_vm_advance(why_bed_ctl.ledger, &a, NULL, &e));
    }
    return memory_vm(why_bed_url, res.vm.name);
}

void why_bed_circuit(const char *subject, const char *why)
{
    char value[LEDGER_CELL_VALUE];
    struct err e;
    int64_t now = clock_wall_ms();
    struct circuit c = {.since_ms = now - WHY_BED_OPEN_MS,
                        .changed_ms = now,
                        .opens = 1,
                        .open_until_ms = now + 45000};
    (void)snprintf(c.why, sizeof c.why, "%s", why);
    circuit_encode(&c, value);
    MUST(ledger_cell_put(why_bed_ctl.ledger, CIRCUIT_KIND, subject, value, 0, NULL, &e));
}

struct github_job *why_bed_at_github(const char *status, const char *labels)
{
    struct github_job *job = scripted_github_add_job(7, status);
    (void)snprintf(job->labels, sizeof job->labels, "%s", labels);
    (void)snprintf(why_bed_given, sizeof why_bed_given, "%s", WHY_BED_URL);
    return job;
}
