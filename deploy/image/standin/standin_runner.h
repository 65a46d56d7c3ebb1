/*
 * The stand-in for GitHub's runner as a function, for programs that play VMs: call it in a process of its own, which it may end
 * by exit(). ACTIONS_RUNNER_INPUT_JITCONFIG has the configuration; listener.h says the rest.
 */
#ifndef STANDIN_RUNNER_H
#define STANDIN_RUNNER_H

/* The arguments of Runner.Listener: run [--in-place], warmup, --version. Returns its exit code. */
int standin_runner(int argc, char **argv);

#endif
