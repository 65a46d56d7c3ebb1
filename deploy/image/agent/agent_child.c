#include "deploy/image/agent/agent_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <unistd.h>

#include "common/base/log.h"
#include "deploy/image/agent/agent_env.h"

bool agent_child_become(const struct agent_user *u)
{
    return u == NULL ||
           (setgroups(u->group_count, u->groups) == 0 && setresgid(u->gid, u->gid, u->gid) == 0 &&
            setresuid(u->uid, u->uid, u->uid) == 0);
}

static void reset_signals(void)
{
    sigset_t none;
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigemptyset(&none);
    for (int s = 1; s < NSIG; s++) {
        (void)sigaction(s, &dfl, NULL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
}

pid_t agent_child_start(agent_child_fn *fn, const void *ctx, struct err *e)
{
    pid_t pid = fork();
    if (pid < 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot start a child");
    }
    if (pid == 0) {
        reset_signals();
        log_set_writer(NULL, NULL); /* the agent's is for the agent's loop */
        int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (setsid() < 0 || null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(2, 1) < 0) {
            _exit(126);
        }
        _exit(fn(ctx));
    }
    return pid;
}

void agent_child_kill(pid_t pid)
{
    /* A child that has no session yet is in no group of its own, and has started nothing. */
    (void)kill(pid, SIGKILL);
    (void)kill(-pid, SIGKILL);
}

int agent_child_exec(const char *path, const char *argument, const struct agent_user *user,
                     const struct payload *payload)
{
    /* execve does not change the texts; its type is older than const. */
    union {
        const char *in;
        char *out;
    } name = {.in = path}, first = {.in = argument};
    char *argv[3] = {name.out, first.out, NULL};
    struct agent_env env;
    agent_env_init(&env, user, payload);
    char **entries = agent_env_entries(&env);
    if (entries != NULL && agent_child_become(user)) {
        execve(path, argv, entries);
    }
    agent_env_fini(&env);
    return 127;
}
