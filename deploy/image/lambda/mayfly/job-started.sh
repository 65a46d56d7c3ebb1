#!/bin/sh
# GitHub's runner runs this at the start of each job, before its steps (ACTIONS_RUNNER_HOOK_JOB_STARTED): in an image with
# Docker it waits until the daemon responds. Docker is started together with the runner, so the wait is short. A failure is only a
# warning, because the job may not need Docker.

command -v dockerd > /dev/null || exit 0
"${0%/*}/wait-for-docker" || echo "::warning::Docker did not start in time; steps that need it will fail"
exit 0
