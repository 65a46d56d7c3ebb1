/*
 * The whole agent as a program, for tests: started with a scripted runner, its status lines and one
 * of its outputs read line by line, its end awaited.
 *
 * Failures are assertions of cmocka. A line that does not come within half a minute is one. One
 * thread; the agent's descriptors are closed by agent_bed_finish.
 */
#ifndef MAYFLY_TEST_AGENT_BED_H
#define MAYFLY_TEST_AGENT_BED_H

#include <stddef.h>
#include <sys/types.h>

#include "agent_scripts.h"

struct agent_bed {
    struct scripts scripts;
    pid_t pid;
    int status; /* where status lines come out */
    int output; /* standard output or error */
};

/* Makes the directory and the runner's script in it. */
void agent_bed_init(struct agent_bed *b, const char *script);

/* Runs the program with the options that only this test has, ended by NULL, at most 12; `output`
 * is the descriptor that is read: 1 or 2. */
void agent_bed_start(struct agent_bed *b, const char *program, int output,
                     const char *const *options);

/* Waits for the agent's end, which must be an exit with that status, and removes the directory. */
void agent_bed_finish(struct agent_bed *b, int want_exit);

/* Waits until nothing more fits into that pipe, which nobody reads. */
void agent_await_full(int fd);

/* To the end of the line, without it. */
void agent_read_line(int fd, char *out, size_t size);
/* The next line must be that, or begin with it. */
void agent_expect_line(int fd, const char *want);
void agent_expect_prefix(int fd, const char *want);

#endif
