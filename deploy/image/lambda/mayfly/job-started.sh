#!/bin/sh
# GitHub's runner runs this at the start of each job, before its steps (ACTIONS_RUNNER_HOOK_JOB_STARTED): in an image with
# Docker it waits until the daemon answers. It came up beside the runner, so there is hardly ever anything to wait for. A job
# that can do without is not failed for it.

[ -x /usr/bin/dockerd ] || exit 0
for _ in $(seq 300); do
    if docker version > /dev/null 2>&1; then exit 0; fi
    sleep 0.1
done
echo "::warning::Docker did not start within 30 s; steps that need it will fail"
exit 0
