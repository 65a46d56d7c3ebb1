/*
 * A Redis server that plays a script: which command must come next, and what it answers.
 *
 * It listens on 127.0.0.1, port 0, with a thread per connection; all connections share one script,
 * so a test with several of them gives their commands an order by waiting for each. A command that
 * is not the next one is answered with an error that says so, and fails fake_redis_end.
 */
#ifndef MAYFLY_FAKE_REDIS_H
#define MAYFLY_FAKE_REDIS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define FAKE_CLOSE "<close>" /* instead of an answer: closes the connection */
#define FAKE_HANG "<hang>"   /* answers nothing; the connection stays open */

struct fake_turn {
    const char *command; /* the command's words, joined by spaces, must begin like this */
    const char *answer;  /* bytes */
};

#define FAKE_CONNECTIONS 16
struct fake_redis {
    const struct fake_turn *turns; /* ends with a NULL command */
    size_t next;
    char trouble[512];
    int listener;
    int port;
    pthread_mutex_t lock;
    pthread_t accepter;
    pthread_t threads[FAKE_CONNECTIONS];
    int fds[FAKE_CONNECTIONS];
    size_t connections;
    bool ending;
};

void fake_redis_begin(struct fake_redis *f, const struct fake_turn *turns);
/* Fails the test unless the script was played to its end. */
void fake_redis_end(struct fake_redis *f);

#endif
