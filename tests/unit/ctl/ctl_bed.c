#include "tests/unit/ctl/ctl_bed.h"

#include <stdio.h>

#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

struct config *config;
struct ctl ctl;

void ctl_bed_open(const char *text, const char *ledger_url)
{
    static int times;
    char url[48];
    struct err e;
    (void)snprintf(url, sizeof url, "memory://ctl-bed-%d", ++times);
    MUST(config_parse(slice_of(text), "test", CONFIG_FOR_CTL, &config, NULL, &e));
    ctl = (struct ctl){.config = config};
    MUST(ledger_open(ledger_url != NULL ? ledger_url : url, &ctl.ledger, &e));
    MUST(queue_open(url, &ctl.queue, &e));
}

void ctl_bed_apply(int64_t id, enum job_action action, const char *class_name, const char *runner)
{
    struct ledger_effect effect;
    struct err e;
    struct job_event ev = {.action = action,
                           .status = "queued",
                           .job = {.id = id,
                                   .run_id = 7,
                                   .repository = "acme/app",
                                   .organization = "acme",
                                   .name = "build"}};
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "%s", class_name);
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    MUST(ledger_apply_event(ctl.ledger, &ev, "acme", &effect, &e));
}

int ctl_bed_close(void **state)
{
    (void)state;
    queue_close(ctl.queue);
    ledger_close(ctl.ledger);
    config_free(config);
    return 0;
}
