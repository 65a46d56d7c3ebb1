/*
 * An output of the agent that never waits for its reader: the console, or the log.
 *
 * A whole line is written at once or kept, up to OUTPUT_HELD_MAX bytes; what does not fit is
 * dropped and counted. When the reader has caught up, the count is logged once (output_dropped).
 * Pipes and terminals are opened once more for this: O_NONBLOCK on the descriptor that the agent
 * was given would be its children's too. One thread.
 */
#ifndef MAYFLY_AGENT_OUTPUT_H
#define MAYFLY_AGENT_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"

#define OUTPUT_HELD_MAX 262144

struct agent_output {
    int fd; /* does not block; -1: the reader is gone, and everything is dropped */
    const char *name;
    struct buf held;
    size_t sent; /* of what is held */
    bool full;   /* the reader took no more: nothing is tried until agent_output_flush */
    int64_t dropped_lines;
};

/* fd: borrowed; -1 for none. name: a static string for the log. */
void agent_output_init(struct agent_output *o, int fd, const char *name);
void agent_output_fini(struct agent_output *o);

/* With its newline. */
void agent_output_line(struct agent_output *o, struct slice line);
/* Writes what the reader takes now. */
void agent_output_flush(struct agent_output *o);
/* Waits for the reader, at most that long. */
void agent_output_drain(struct agent_output *o, int64_t wait_ms);

#endif
