/* What needs a disk that outlives the process, and is configured where there is none. ECS sets
 * AWS_EXECUTION_ENV in each container; a Fargate task's own disk is new with each task, also with a
 * volume of EBS, and EFS is a network file system, on which SQLite has no write-ahead log. */
#include <stdlib.h>
#include <string.h>

#include "common/config/private.h"

#define NO_DISK                                                                                    \
    "needs a disk that outlives the process, and a Fargate task (AWS_EXECUTION_ENV=AWS_ECS_"       \
    "FARGATE) has none: "

static void refuse(struct config_reading *r, const char *path, const char *why)
{
    if (!complaints_about(r->complaints, path)) {
        complain(r->complaints, config_tree_line(r->tree, path), path, NO_DISK "%s", why);
    }
}

static void refuse_store(struct config_reading *r, const char *path, const char *url,
                         const char *others)
{
    if (strncmp(url, "sqlite:", 7) == 0) {
        refuse(r, path, others);
    }
}

/* VMs on their worker's host; the file that identifies this host is in state_dir. */
static void refuse_vms_of_the_host(const struct config_class_check *c)
{
    const struct config_provider *p = config_provider_find(c->config->classes[c->index].provider);
    if (p != NULL && p->domain == NULL) {
        config_check_complain(
            c, "provider", "%s",
            "runs VMs on the worker's host, of which a Fargate task "
            "(AWS_EXECUTION_ENV=AWS_ECS_FARGATE) has neither /dev/kvm nor a "
            "state_dir that lasts: choose another provider, or run the worker elsewhere");
    }
}

void config_check_fargate(struct config_reading *r)
{
    const struct config *c = r->config;
    const char *where = getenv("AWS_EXECUTION_ENV");
    if (where == NULL || strcmp(where, "AWS_ECS_FARGATE") != 0) {
        return;
    }
    refuse_store(r, "queue", c->queue, "use SQS, Redis or Kafka");
    refuse_store(r, "ledger", c->ledger, "use DynamoDB or Redis");
    if ((r->who & FOR_INGRESS) != 0 && c->ingress.spool_path[0] != '\0') {
        refuse(r, "ingress.spool.path",
               "what it holds would be lost with the task, though GitHub was answered 202; remove "
               "it, and deliveries that the queue does not take are answered 503, and the reaper "
               "requests them again from GitHub's delivery log");
    }
    for (size_t i = 0; (r->who & FOR_FLEET) != 0 && i < c->class_count; i++) {
        const struct config_class_check class = {.reading = r, .config = c, .index = i};
        refuse_vms_of_the_host(&class);
    }
}
