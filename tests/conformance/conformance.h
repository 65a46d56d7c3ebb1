/*
 * What the conformance suites share: a fresh store for each test, and other processes.
 *
 * A suite is a program called with a backend's URL pattern, in which "{dir}" stands for an empty
 * directory made for each test: sqlite://{dir}/queue.db; or "{name}" for that directory's name,
 * which is as new: redis://127.0.0.1:6379?prefix={name}. Other processes are this same program,
 * started anew with "--child NAME URL ..." (a fork alone would share what must not be shared:
 * POSIX locks and open handles), and tell what they did by lines on their standard output.
 * Not for threads other than the test's.
 */
#ifndef MAYFLY_CONFORMANCE_H
#define MAYFLY_CONFORMANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef int conformance_child_fn(const char *url, int argc, char **argv);

struct conformance_child {
    const char *name;
    conformance_child_fn *run;
};

/* To be called first in main. Returns -1 if this process is to run the tests, else it was a child
 * and the value is its exit status. children ends with a NULL name. */
int conformance_start(int argc, char **argv, const struct conformance_child *children);

/* Whether the backend's URL has that scheme: "sqs". */
bool conformance_is(const char *scheme);

struct conformance_store {
    char dir[256];
    char url[512];
};
void conformance_store_init(struct conformance_store *s);
void conformance_store_fini(struct conformance_store *s); /* removes the directory */

struct conformance_process {
    pid_t pid;
    int out;        /* its standard output */
    char line[256]; /* the last one read, without the newline */
};
/* args: up to 9, NULL-terminated. */
void conformance_spawn(struct conformance_process *p, const char *child, const char *url,
                       const char *const *args);
/* Waits for the next line, a minute at most (then the test fails); false at its end. */
bool conformance_read_line(struct conformance_process *p);
/* Waits for its end; the exit status, or -signal. Closes the pipe. */
int conformance_wait(struct conformance_process *p);

#endif
