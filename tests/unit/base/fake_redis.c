#include "tests/unit/base/fake_redis.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/cmocka.h"

struct served { /* one connection, for its thread */
    struct fake_redis *f;
    int fd;
};

/* A line without its end; false when the connection is over. */
static bool read_line(FILE *in, char *line, size_t size)
{
    if (fgets(line, (int)size, in) == NULL) {
        return false;
    }
    line[strcspn(line, "\r\n")] = '\0';
    return true;
}

/* One command, its words joined by spaces and cut to what fits. */
static bool read_command(FILE *in, char *command, size_t size)
{
    char line[64];
    size_t len = 0;
    command[0] = '\0';
    if (!read_line(in, line, sizeof line) || line[0] != '*') {
        return false;
    }
    long words = strtol(line + 1, NULL, 10);
    for (long i = 0; i < words; i++) {
        if (!read_line(in, line, sizeof line) || line[0] != '$') {
            return false;
        }
        long bytes = strtol(line + 1, NULL, 10);
        if (i > 0 && len < size - 1) {
            command[len++] = ' ';
        }
        for (long k = 0; k < bytes + 2; k++) {
            int c = fgetc(in);
            if (c == EOF) {
                return false;
            }
            if (k < bytes && len < size - 1) {
                command[len++] = (char)c;
            }
        }
    }
    command[len] = '\0';
    return true;
}

/* The answer to a command: the script's, or what is wrong with the command. */
static const char *answer_to(struct fake_redis *f, const char *command, char *wrong, size_t size)
{
    const char *answer = wrong;
    pthread_mutex_lock(&f->lock);
    const struct fake_turn *turn = &f->turns[f->next];
    if (turn->command != NULL && strncmp(command, turn->command, strlen(turn->command)) == 0) {
        answer = turn->answer;
        f->next++;
    } else {
        (void)snprintf(f->trouble, sizeof f->trouble, "wanted \"%s\", got \"%.200s\"",
                       turn->command != NULL ? turn->command : "the end", command);
        (void)snprintf(wrong, size, "-ERR unexpected\r\n");
    }
    pthread_mutex_unlock(&f->lock);
    return answer;
}

static void *serve(void *arg)
{
    struct served s = *(struct served *)arg;
    char command[4096];
    char wrong[64];
    FILE *in = fdopen(dup(s.fd), "r");
    free(arg);
    while (read_command(in, command, sizeof command)) {
        const char *answer = answer_to(s.f, command, wrong, sizeof wrong);
        if (strcmp(answer, FAKE_HANG) == 0) {
            continue;
        }
        if (strcmp(answer, FAKE_CLOSE) == 0) {
            break;
        }
        ssize_t n = send(s.fd, answer, strlen(answer), MSG_NOSIGNAL);
        (void)n;
    }
    (void)shutdown(s.fd, SHUT_RDWR);
    (void)fclose(in);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct fake_redis *f = arg;
    for (;;) {
        int fd = accept(f->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        struct served *s = malloc(sizeof *s);
        *s = (struct served){f, fd};
        pthread_mutex_lock(&f->lock);
        if (f->ending || f->connections == FAKE_CONNECTIONS ||
            pthread_create(&f->threads[f->connections], NULL, serve, s) != 0) {
            close(fd);
            free(s);
        } else {
            f->fds[f->connections++] = fd;
        }
        pthread_mutex_unlock(&f->lock);
    }
}

void fake_redis_begin(struct fake_redis *f, const struct fake_turn *turns)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    *f = (struct fake_redis){.turns = turns};
    assert_int_equal(pthread_mutex_init(&f->lock, NULL), 0);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(f->listener >= 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(f->listener, 16), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&at, &len), 0);
    f->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&f->accepter, NULL, accept_all, f), 0);
}

void fake_redis_end(struct fake_redis *f)
{
    pthread_mutex_lock(&f->lock);
    f->ending = true;
    pthread_mutex_unlock(&f->lock);
    (void)shutdown(f->listener, SHUT_RDWR);
    (void)pthread_join(f->accepter, NULL);
    close(f->listener);
    for (size_t i = 0; i < f->connections; i++) {
        (void)shutdown(f->fds[i], SHUT_RDWR);
        (void)pthread_join(f->threads[i], NULL);
        close(f->fds[i]);
    }
    pthread_mutex_destroy(&f->lock);
    assert_string_equal(f->trouble, "");
    assert_null(f->turns[f->next].command);
}
