#include "tests/bench/launch/ingress_player.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/job/publish.h"

struct order {
    int64_t first;
    int64_t count; /* 0: there is nothing more to do; other processes may hold the pipe open */
    int64_t per_second;
};

struct playing {
    struct queue *q;
    const char *class_name;
    int64_t *accepted_us;
};

static void give_up(const char *what, const struct err *e)
{
    (void)fprintf(stderr, "%s: %s\n", what, e->message);
    _exit(1);
}

static void put_job(const struct playing *p, int64_t job)
{
    struct err e = {0};
    struct job_messages messages;
    struct job_event ev = {.action = JOB_ACTION_QUEUED,
                           .job.id = job,
                           .job.run_id = job,
                           .status = "queued",
                           .job.repository = "acme/app",
                           .job.organization = "acme"};
    ev.received_ms = clock_wall_ms();
    ASSERT(slice_to_cstr(slice_of(p->class_name), ev.job.class_name, sizeof ev.job.class_name));
    job_messages_of_delivery(&ev, true, 1, &messages);
    if (job_publish_all(p->q, &messages, &e) != 0) {
        give_up("put", &e);
    }
    if (p->accepted_us != NULL) {
        p->accepted_us[job] = clock_mono_us();
    }
    job_messages_fini(&messages);
}

static void carry_out(const struct playing *p, const struct order *o)
{
    int64_t start = clock_mono_ms();
    for (int64_t i = 0; i < o->count; i++) {
        if (o->per_second > 0) {
            clock_sleep_until(start + i * 1000 / o->per_second);
        }
        put_job(p, o->first + i);
    }
}

/* The whole life of the process: orders until the last one. */
static void play(const char *url, struct playing *p, int orders)
{
    struct err e = {0};
    struct order o;
    while (read(orders, &o, sizeof o) == (ssize_t)sizeof o && o.count > 0) {
        if (p->q == NULL && queue_open(url, &p->q, &e) != 0) {
            give_up("open", &e);
        }
        carry_out(p, &o);
    }
    queue_close(p->q);
    _exit(0);
}

struct ingress_player ingress_player_start(const char *queue_url, const char *class_name,
                                           int64_t *accepted_us, void (*prepare)(void))
{
    int ends[2];
    ASSERT(pipe(ends) == 0);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        struct playing p = {.class_name = class_name, .accepted_us = accepted_us};
        (void)close(ends[1]);
        if (prepare != NULL) {
            prepare();
        }
        play(queue_url, &p, ends[0]);
    }
    (void)close(ends[0]);
    /* A player that failed is told by its end, not by the pipe. */
    (void)signal(SIGPIPE, SIG_IGN);
    return (struct ingress_player){.pid = pid, .orders = ends[1]};
}

void ingress_player_put(const struct ingress_player *p, int64_t first, int64_t count,
                        int64_t per_second)
{
    const struct order o = {.first = first, .count = count, .per_second = per_second};
    ssize_t n = write(p->orders, &o, sizeof o);
    (void)n;
}

bool ingress_player_failed(const struct ingress_player *p)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == p->pid;
}

bool ingress_player_end(struct ingress_player *p)
{
    int status = 0;
    ingress_player_put(p, 0, 0, 0);
    (void)close(p->orders);
    return waitpid(p->pid, &status, 0) == p->pid && status == 0;
}
