/*
 * `mayflyctl recover [--since DURATION]`: asks the reaper, through the ledger, to read from GitHub
 * the jobs that it delivered since then and that wait (reaper/lost/ledger.c), and the workers to
 * compare the VMs that run with the ledger's rows before they launch more (common/fleet/reconcile.c):
 * a ledger that was restored from a copy of some minutes ago shows by nothing that it lacks rows.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/ledger/kinds.h"
#include "deploy/ctl/ctl.h"

#define HOUR_MS (3600 * 1000LL)
/* GitHub's log goes back three days. */
#define SINCE_MAX_MS (72 * HOUR_MS)

/* Without its cell a class is compared anew. One that another process has just written is newer
 * than the loss. */
static int forget_comparisons(struct ledger *l, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    int rc = ledger_cell_list(l, LEDGER_KIND_RECONCILED, &cells, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (ledger_cell_put(l, LEDGER_KIND_RECONCILED, cells[i].name, NULL, cells[i].version, NULL,
                            e) != 0 &&
            e->class != ERR_CONFLICT) {
            rc = -1;
        }
    }
    free(cells);
    return rc;
}

int ctl_recover(struct ctl *c, json_t **out, struct err *e)
{
    struct ledger_cell cell;
    char value[32];
    char since[40];
    char did[400];
    int64_t back_ms = 0;
    if (ctl_option_duration(c, "--since", 1000, SINCE_MAX_MS, 2 * HOUR_MS, &back_ms, e) != 0 ||
        forget_comparisons(c->ledger, e) != 0 ||
        ledger_cell_get(c->ledger, LEDGER_KIND_RECOVERY, LEDGER_RECOVERY_REQUEST, &cell, e) != 0) {
        return -1;
    }
    int64_t since_ms = clock_wall_ms() - back_ms;
    (void)snprintf(value, sizeof value, "%lld", (long long)since_ms);
    if (ledger_cell_put(c->ledger, LEDGER_KIND_RECOVERY, LEDGER_RECOVERY_REQUEST, value,
                        cell.version, NULL, e) != 0) {
        return -1;
    }
    clock_format_utc(since_ms, since, sizeof since);
    (void)snprintf(
        did, sizeof did,
        "the reaper's next sweep begins to read the jobs that GitHub delivered since %s "
        "and that wait (recovery_started, recovery_finished in its log); workers compare "
        "the VMs that run with the ledger before they launch more",
        since);
    *out = json_pack("{s:s, s:s}", "since", since, "did", did);
    return 0;
}
