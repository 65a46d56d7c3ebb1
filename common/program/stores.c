#include "common/program/stores.h"

int stores_open(const struct config *c, struct stores *out, struct err *e)
{
    if (queue_open(c->queue, &out->queue, e) != 0 || ledger_open(c->ledger, &out->ledger, e) != 0 ||
        github_open(c, out->ledger, &out->github, e) != 0) {
        return -1;
    }
    return fleet_open(c, out->ledger, out->github, &out->fleet, e);
}

void stores_close(struct stores *s)
{
    fleet_close(s->fleet);
    github_close(s->github);
    ledger_close(s->ledger);
    queue_close(s->queue);
    *s = (struct stores){0};
}

bool stores_ready(const struct stores *s, struct buf *why)
{
    struct err e = {0};
    if (queue_ping(s->queue, &e) == 0 && ledger_ping(s->ledger, &e) == 0) {
        return true;
    }
    buf_append_cstr(why, e.message);
    return false;
}
