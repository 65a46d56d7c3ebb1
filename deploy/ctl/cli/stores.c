#include "deploy/ctl/cli/stores.h"

#include "deploy/ctl/commands.h"

int ctl_open_stores(struct ctl *c, unsigned needs, struct err *e)
{
    if ((needs & CTL_QUEUE) != 0 && c->queue == NULL &&
        queue_open_existing(c->config->queue, &c->queue, e) != 0) {
        return err_said_by(e, ERR_FROM_QUEUE);
    }
    if ((needs & CTL_LEDGER) != 0 && c->ledger == NULL &&
        ledger_open_existing(c->config->ledger, &c->ledger, e) != 0) {
        return err_said_by(e, ERR_FROM_LEDGER);
    }
    return 0;
}

void ctl_close_stores(struct ctl *c)
{
    ledger_close(c->ledger);
    queue_close(c->queue);
    c->ledger = NULL;
    c->queue = NULL;
}
