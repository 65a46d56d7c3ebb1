/*
 * What the sweep task `totals` remembers (common/ledger/totals.h). Of the reaper's one thread.
 */
#ifndef MAYFLY_REAPER_TOTALS_TOTALS_H
#define MAYFLY_REAPER_TOTALS_TOTALS_H

#include "common/ledger/totals.h"

/* The sizes of the VMs of so many versions of images; of more, the oldest is asked for again. */
struct reaper_sizes {
    struct reaper_size {
        char class_name[CLASS_NAME_SIZE]; /* "": free */
        char target[TARGET_NAME_SIZE];
        char version[LEDGER_IMAGE_VERSION];
        struct ledger_vm_size size;
        int64_t until_ms; /* monotonic */
    } list[64];
    size_t next;
    int64_t full_reported_ms; /* monotonic; 0: that a day is full was not logged */
};

#endif
