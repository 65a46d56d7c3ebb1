/*
 * The platform of Lambda's hooks, for tests: starts the agent as a program with --lambda and calls
 * its hooks over HTTP.
 *
 * Failures are assertions of cmocka. One thread.
 */
#ifndef MAYFLY_TEST_AGENT_PLATFORM_H
#define MAYFLY_TEST_AGENT_PLATFORM_H

#include "agent_bed.h"

struct platform {
    struct agent_bed agent; /* its log, on standard error, is what is read */
    int port;
};

/* Until the agent is ready. extra: an option that only this test has and its value, or NULLs. */
void platform_start(struct platform *p, const char *program, const char *script,
                    const char *const extra[2]);
/* The same with a runner that is in its directory already. */
void platform_start_bed(struct platform *p, const char *program, const char *const extra[2]);

/* Reads the log to the line that holds the text. */
void platform_await_log(const struct platform *p, const char *text, char *line, size_t size);

int platform_dial(const struct platform *p);
/* A hook in two parts, or at once; the result is the status. */
int platform_call_begin(const struct platform *p, const char *hook, const char *body);
int platform_call_end(int fd);
int platform_call(const struct platform *p, const char *hook, const char *body);
/* The run hook with a payload that has that JIT config. */
int platform_call_run(const struct platform *p, const char *config);

#endif
