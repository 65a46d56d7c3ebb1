/*
 * When the images of the classes were built, and whether on what was recalled since: GitHub gives no jobs to a
 * runner that is too old, and an image has the runner of its time. Asked once an hour, of the provider; what cannot be known is absent.
 * For the thread that reads the fleet's gauges.
 */
#ifndef MAYFLY_REAPER_METRICS_IMAGES_H
#define MAYFLY_REAPER_METRICS_IMAGES_H

#include "common/config/config.h"
#include "common/job/vm_name.h"
#include "common/ledger/ledger.h"

struct image_times {
    struct image_time {
        char class_name[PLACE_NAME_SIZE];
        int64_t built_ms; /* wall clock; 0: not known */
        int recalled;     /* 1: yes, 0: no, -1: not known */
    } * list;
    size_t count;
    int64_t due_ms; /* monotonic: the next question */
};
void image_times_fini(struct image_times *t);

/* Asks if an hour has passed, or the classes are others. A call for each class then. */
void image_times_refresh(struct image_times *t, struct ledger *l, const struct config *c);
/* 0: not known. */
int64_t image_built_ms(const struct image_times *t, const char *class_name);
/* 1: its base was recalled, 0: it was not, -1: not known. */
int image_base_recalled(const struct image_times *t, const char *class_name);

#endif
