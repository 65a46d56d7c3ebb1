/* The end of a runner that behaves as GitHub's does: run.sh passes an interrupt on to its helper's
 * process group, the helper and the steps have no handler for TERM, and the listener needs three
 * seconds to cancel its job and to delete its session. The agent as PID 1 and not. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_platform.h"
#include "common/base/fs.h"
#include "tests/lib/cmocka.h"

static const char *agent_path;

/* Outlives an interrupt only by waiting for its helper again. */
#define RUN_SH                                                                                     \
    "#!/bin/bash\n"                                                                                \
    "set -m\n"                                                                                     \
    "asked=no\n"                                                                                   \
    "interrupt_helper() { asked=yes; kill -INT -\"$helper\"; }\n"                                  \
    "trap interrupt_helper INT TERM\n"                                                             \
    "while :; do\n"                                                                                \
    "    ./helper.sh & helper=$!\n"                                                                \
    "    wait $helper; code=$?\n"                                                                  \
    "    if [ $asked = yes ]; then wait $helper; code=$?; fi\n"                                    \
    "    if [ $code -ne 2 ]; then exit $code; fi\n"                                                \
    "done\n"

/* Waits for its listener through an interrupt, as bash does; TERM ends it. */
#define HELPER                                                                                     \
    "#!/bin/bash\n"                                                                                \
    "trap : INT\n"                                                                                 \
    "./bin/Runner.Listener run\n"                                                                  \
    "code=$?\n"                                                                                    \
    "if [ $code -eq 0 ] || [ $code -eq 2 ]; then exit $code; fi\n"                                 \
    "echo \"helper: unknown error code: $code\"\n"                                                 \
    "exit 0\n"

#define LISTENER                                                                                   \
    "#!/bin/bash\n"                                                                                \
    "asked=no\n"                                                                                   \
    "trap 'asked=yes' INT\n"                                                                       \
    "(trap 'echo TERM > step; exit' TERM; echo > started; while :; do sleep 0.05; done) &\n"       \
    "while [ ! -e started ]; do sleep 0.05; done\n"                                                \
    "echo 'Listening for Jobs'; echo 'Running job: build'\n"                                       \
    "while [ $asked = no ]; do sleep 0.05; done\n"                                                 \
    "sleep 3\n"                                                                                    \
    "echo 'Job build completed with result: Canceled'\n"                                           \
    "echo deleted > session\n"

#define DEAF_LISTENER                                                                              \
    "#!/bin/bash\n"                                                                                \
    "trap 'echo asked > session' INT\n"                                                            \
    "echo 'Listening for Jobs'; echo 'Running job: build'\n"                                       \
    "while :; do sleep 0.05; done\n"

static void write_program(const struct platform *p, const char *name, const char *text)
{
    char path[160];
    struct err e;
    (void)snprintf(path, sizeof path, "%s/%s", p->agent.scripts.dir, name);
    assert_int_equal(fs_write_atomic(path, slice_of(text), 0755, &e), 0);
}

static bool exists(const struct platform *p, const char *name)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", p->agent.scripts.dir, name);
    return access(path, F_OK) == 0;
}

static bool may_make_pid_namespaces(void)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)execlp("unshare", "unshare", "--pid", "--fork", "true", (char *)NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* In --lambda mode the agent never powers off, whatever its PID. */
static void start(struct platform *p, const char *listener, bool as_pid_1, const char *grace_ms)
{
    const char *const extra[2] = {"--kill-grace-ms", grace_ms};
    char path[160];
    char wrapper[256];
    agent_bed_init(&p->agent, "");
    write_program(p, "run.sh", RUN_SH); /* a shell with job control even without a terminal */
    write_program(p, "helper.sh", HELPER);
    (void)snprintf(path, sizeof path, "%s/bin", p->agent.scripts.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    write_program(p, "bin/Runner.Listener", listener);
    (void)snprintf(wrapper, sizeof wrapper,
                   "#!/bin/sh\nexec unshare --pid --fork --kill-child %s \"$@\"\n", agent_path);
    write_program(p, "first", wrapper);
    (void)snprintf(path, sizeof path, "%s/first", p->agent.scripts.dir);
    platform_start_bed(p, as_pid_1 ? path : agent_path, extra);
    assert_int_equal(platform_call_run(p, "Y29uZmln"), 200);
    agent_expect_line(p->agent.status, "STARTED");
    agent_expect_line(p->agent.status, "LISTENING");
    agent_expect_line(p->agent.status, "JOB");
}

static void expect_time_to_cancel(bool as_pid_1)
{
    struct platform p;
    start(&p, LISTENER, as_pid_1, "30000");
    assert_int_equal(platform_call(&p, "terminate", ""), 200);
    agent_expect_line(p.agent.status, "EXIT 0 terminated");
    scripts_expect(&p.agent.scripts, "session", "deleted\n");
    assert_false(exists(&p, "step")); /* the step was the listener's to end */
    agent_bed_finish(&p.agent, 0);
}

static void expect_kill_at_the_deadline(bool as_pid_1)
{
    struct platform p;
    start(&p, DEAF_LISTENER, as_pid_1, "500");
    assert_int_equal(platform_call(&p, "terminate", ""), 200);
    agent_expect_line(p.agent.status, "EXIT 137 terminated");
    scripts_expect(&p.agent.scripts, "session", "asked\n");
    agent_bed_finish(&p.agent, 0);
}

static void listener_has_time_to_cancel_its_job(void **state)
{
    expect_time_to_cancel(false);
}

static void listener_has_time_to_cancel_its_job_under_pid_1(void **state)
{
    if (!may_make_pid_namespaces()) {
        skip();
    }
    expect_time_to_cancel(true);
}

static void runner_that_does_not_end_is_killed_at_the_deadline(void **state)
{
    expect_kill_at_the_deadline(false);
}

static void runner_that_does_not_end_is_killed_under_pid_1(void **state)
{
    if (!may_make_pid_namespaces()) {
        skip();
    }
    expect_kill_at_the_deadline(true);
}

/* A signal to the agent, as a supervisor of services sends it. */
static void sigterm_gives_the_same_time(void **state)
{
    struct platform p;
    start(&p, LISTENER, false, "30000");
    assert_int_equal(kill(p.agent.pid, SIGTERM), 0);
    agent_expect_line(p.agent.status, "EXIT 0 terminated");
    scripts_expect(&p.agent.scripts, "session", "deleted\n");
    agent_bed_finish(&p.agent, 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: test_agent_grace MAYFLY-AGENT\n", stderr);
        return 2;
    }
    agent_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listener_has_time_to_cancel_its_job),
        cmocka_unit_test(listener_has_time_to_cancel_its_job_under_pid_1),
        cmocka_unit_test(runner_that_does_not_end_is_killed_at_the_deadline),
        cmocka_unit_test(runner_that_does_not_end_is_killed_under_pid_1),
        cmocka_unit_test(sigterm_gives_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
