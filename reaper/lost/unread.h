/*
 * What is logged of repositories whose jobs a recovery cannot read: once for each reason, not in each
 * sweep that tries again. The sweep thread's alone.
 */
#ifndef MAYFLY_REAPER_LOST_UNREAD_H
#define MAYFLY_REAPER_LOST_UNREAD_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* Why the last try failed: what an error's text adds is another one each time, as GitHub's request
 * id. */
struct unread {
    int64_t repository_id;
    enum err_class class;
    int code;
};

/* Zeroed: none. As many as there are repositories left to read. */
struct unread_list {
    struct unread *items;
    size_t count;
};

/* The jobs could not be read, and the next sweep tries again. A warning if that is new, or for
 * another reason than the last time. */
void unread_report(struct unread_list *l, int64_t repository_id, const struct err *e);
/* They were read, or are not wanted any more. */
void unread_forget(struct unread_list *l, int64_t repository_id);
/* GitHub does not let us read them. */
void unread_report_refused(const char *repository, const struct err *e);
void unread_fini(struct unread_list *l);

#endif
