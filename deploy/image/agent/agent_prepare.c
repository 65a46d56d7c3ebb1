#include "deploy/image/agent/agent_prepare.h"

#include "common/base/log.h"
#include "deploy/image/agent/agent_child.h"

struct program {
    const char *path;
    const struct payload *payload;
};

static int exec_program(const void *ctx)
{
    const struct program *p = ctx;
    return agent_child_exec(p->path, NULL, NULL, p->payload);
}

void agent_prepare_start(struct agent_prepare *p, const struct payload *payload)
{
    const struct program program = {p->path, payload};
    struct err e = {0};
    if (p->path == NULL) {
        return;
    }
    p->pid = agent_child_start(exec_program, &program, &e);
    if (p->pid < 0) {
        log_error("prepare_failed", LOG_STR("path", p->path), LOG_ERR(&e));
    }
}

void agent_prepare_stop(struct agent_prepare *p)
{
    if (p->pid > 0) {
        agent_child_kill(p->pid);
    }
    p->pid = 0;
}
