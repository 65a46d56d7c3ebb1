#include "common/program/durability.h"

#include "common/base/buf.h"
#include "common/base/log.h"

#define WARNINGS_LIMIT_BYTES (16 * 1024)

void durability_warn(const char *store, struct slice warning)
{
    log_warn("store_durability_warning", LOG_STR("store", store), LOG_SLICE("warning", warning),
             LOG_STR("action", "the program continues; fix the server's settings"));
}

void durability_warn_of_queue(struct queue *q, bool dead_letters)
{
    struct err e = {0};
    struct buf warnings;
    buf_init(&warnings, WARNINGS_LIMIT_BYTES);
    if (queue_check(q, dead_letters, &warnings, &e) != 0) {
        log_warn("store_check_failed", LOG_STR("store", "queue"), LOG_ERR(&e),
                 LOG_STR("action",
                         "the queue's durability settings are checked again at the next start"));
    }
    struct slice rest = buf_slice(&warnings);
    while (rest.len > 0) {
        struct slice line;
        (void)slice_cut(rest, '\n', &line, &rest);
        if (line.len > 0) {
            durability_warn("queue", line);
        }
    }
    buf_fini(&warnings);
}
