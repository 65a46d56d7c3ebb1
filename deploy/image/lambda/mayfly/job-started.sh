#!/bin/sh
# GitHub's runner runs this at the start of each job, before its steps (ACTIONS_RUNNER_HOOK_JOB_STARTED): in an image with
# Docker it waits until the daemon responds. Docker is started together with the runner, so the wait is short. A failure is only a
# warning, because the job may not need Docker.

[ -x /usr/bin/dockerd ] || exit 0
for _ in $(seq 300); do
    if docker version > /dev/null 2>&1; then exit 0; fi
    sleep 0.1
done
echo "::warning::Docker did not start within 30 s; steps that need it will fail"
exit 0
