#!/bin/sh
# The stand-in's run-helper.sh. It turns the listener's exit codes into those that run.sh understands, as GitHub's does: 2
# starts it again, most others end it with 0. It has no trap.

cd "${0%/*}" || exit 1
bin/Runner.Listener run "$@"
code=$?
case $code in
    0) echo "Runner listener exit with 0 return code, stop the service, no retry needed." && exit 0 ;;
    1) echo "Runner listener exit with terminated error, stop the service, no retry needed." && exit 0 ;;
    2) echo "Runner listener exit with retryable error, re-launch runner in 5 seconds." && sleep 5 && exit 2 ;;
    3 | 4) echo "Runner listener exit because of updating, re-launch runner after successful update" && exit 2 ;;
    5) echo "Runner listener exit with Session Conflict error, stop the service, no retry needed." && exit 0 ;;
    7) echo "Runner listener exit with deprecated version exit code: 7." && exit 7 ;;
    *) echo "Exiting with unknown error code: $code" && exit 0 ;;
esac
