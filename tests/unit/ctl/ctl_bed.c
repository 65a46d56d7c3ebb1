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

int ctl_bed_close(void **state)
{
    (void)state;
    queue_close(ctl.queue);
    ledger_close(ctl.ledger);
    config_free(config);
    return 0;
}
