/*
 * The fleet's gauges for CloudWatch, in its embedded metric format (`metrics.emf`): JSON documents that
 * CloudWatch Logs turns into metrics without a scraper.
 *
 * One document for the fleet, with the dimension `deployment`, and one for each class, with `deployment`
 * and `class`: a document has one value of a dimension. Each is a line of less than 16 KB. The reader is
 * the log driver of a container: while it does not read, documents are dropped and counted, and nothing
 * waits for it longer than a second. For the thread that reads the gauges.
 */
#ifndef MAYFLY_REAPER_METRICS_EMF_H
#define MAYFLY_REAPER_METRICS_EMF_H

#include "common/base/buf.h"
#include "common/config/config.h"

#define EMF_EVERY_MS 60000
#define EMF_DOCUMENT_MAX_BYTES 16384

/* Appends the documents of what is shown now (metrics_shown), a line each. Nothing if nothing is. */
void emf_append(struct buf *out, const struct config *c, int64_t now_ms);

struct emf_writer {
    int fd;      /* borrowed */
    bool broken; /* the last line was cut */
    bool warned; /* since the last document that was written */
};
void emf_write(struct emf_writer *w, const struct config *c, int64_t now_ms);

#endif
