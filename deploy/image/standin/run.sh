#!/bin/sh
# The stand-in's run.sh. It behaves as that of GitHub's runner: run-helper.sh is started again when it exits with 2; with
# RUNNER_MANUALLY_TRAP_SIG, TERM and INT become an INT to the helper and what it started, and the exit code is the helper's.

cd "${0%/*}" || exit 1

run() {
    while :; do
        ./run-helper.sh "$@"
        code=$?
        if [ "$code" -ne 2 ]; then break; fi
        echo "Restarting runner..."
    done
    echo "Exiting runner..."
    exit 0
}

run_with_trap() {
    trap 'kill -INT "-$helper"' INT TERM
    while :; do
        # A session of its own: a group that the trap can reach.
        setsid ./run-helper.sh "$@" &
        helper=$!
        wait "$helper"
        code=$?
        if [ "$code" -ne 2 ]; then break; fi
        echo "Restarting runner..."
    done
    echo "Exiting runner..."
    trap - INT TERM
    wait "$helper"
    exit "$code"
}

if [ -n "$RUNNER_MANUALLY_TRAP_SIG" ]; then run_with_trap "$@"; else run "$@"; fi
