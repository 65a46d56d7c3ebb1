#!/bin/sh
# A stand-in for GitHub's runner program, for images that are tested with tests/fakes/github. It needs only
# busybox (sh, sed, base64, wget, cat, tail, rm, mkdir), is started as the real one is and prints the same
# progress lines:
#
#     ACTIONS_RUNNER_INPUT_JITCONFIG=<blob> ./run.sh
#
# It runs one job and exits 0; 0 too when the registration was deleted; 1 for a bad configuration, 5 when another
# session owns the registration. wget uses http_proxy. RUNNER_WAIT_SECONDS is the length of a poll.
#
# The first stage writes the configuration's files and starts the second one without the blob in its
# environment, since a shell's own environment stays readable to the job for as long as the shell lives.

umask 077
wait_seconds=${RUNNER_WAIT_SECONDS:-30}
output_limit=200000

# The files go to this program's directory, as the real runner's do, if it is writable.
home=$(cd "${0%/*}" 2>/dev/null && pwd)
if [ ! -w "${home:-/nowhere}" ]; then home=$PWD; fi

fail() {
    echo "$1" >&2
    exit "${2:-1}"
}

# member NAME: the text value of a member of the JSON object on standard input.
member() {
    sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p'
}

need() {
    for program in "$@"; do
        command -v "$program" > /dev/null || fail "This VM lacks $program, which the runner needs." 2
    done
}

unpack() {
    blob=$ACTIONS_RUNNER_INPUT_JITCONFIG
    unset ACTIONS_RUNNER_INPUT_JITCONFIG
    outer=$(printf '%s' "$blob" | base64 -d 2>/dev/null) || outer=
    for file in .runner .credentials .credentials_rsaparams; do
        inner=$(printf '%s\n' "$outer" | member "$(printf '%s' "$file" | sed 's/\./\\./')")
        [ -n "$inner" ] || fail "The JIT configuration has no $file."
        printf '%s' "$inner" | base64 -d > "$home/$file" || fail "Cannot write $home/$file."
    done
    exec sh "$0" --listen
}

# call OUT WGET-ARGUMENTS...: one HTTP request; sets `status` to 200, 404, 409 or error.
call() {
    out=$1
    shift
    if wget -O "$out" "$@" 2> "$home/.wget"; then
        status=200
        return
    fi
    case "$(cat "$home/.wget")" in
        *" 404"*) status=404 ;;
        *" 409"*) status=409 ;;
        *) status=error ;;
    esac
}

gone() {
    echo "The runner no longer exists on the server."
    exit 0
}

# Waits a little longer after each failure in a row, up to 10 s.
back_off() {
    failures=$((failures + 1))
    if [ $failures -gt 60 ]; then fail "The server cannot be reached: $(cat "$home/.wget")" 2; fi
    if [ $failures -gt 10 ]; then sleep 10; else sleep $failures; fi
}

open_session() {
    while :; do
        call "$home/.answer" --header "Authorization: Bearer $client" --post-data "" "$server/_runner/session"
        case $status in
            200) break ;;
            404) gone ;;
            409) conflicts=$((conflicts + 1)); if [ $conflicts -gt 48 ]; then fail "A session for this runner already exists." 5; fi; sleep 5 ;;
            *) back_off ;;
        esac
    done
    failures=0
    session=$(sed -n 1p "$home/.answer")
    [ -n "$session" ] || fail "The server gave no session."
}

# Sets `job` and `command`.
await_job() {
    while :; do
        rm -f "$home/.answer"
        call "$home/.answer" "$server/_runner/message?session=$session&wait=$wait_seconds"
        case $status in
            404) gone ;;
            200)
                failures=0
                if [ -s "$home/.answer" ]; then break; fi ;;
            *) back_off ;;
        esac
    done
    job=$(sed -n 1p "$home/.answer")
    command=$(sed -n 2p "$home/.answer" | base64 -d)
}

run_job() {
    work=$home/_work/$job
    mkdir -p "$work"
    echo "Running job: $job"
    (
        cd "$work" || exit 1
        export CI=true GITHUB_ACTIONS=true GITHUB_JOB="$job" GITHUB_WORKSPACE="$work" RUNNER_NAME="$name"
        exec sh -c "$command"
    ) > "$home/.output" 2>&1 < /dev/null
    exit_code=$?
    tail -c $output_limit "$home/.output" > "$home/.report"
}

finish_job() {
    while :; do
        call "$home/.answer" --post-file "$home/.report" "$server/_runner/finish?session=$session&job=$job&exit=$exit_code"
        case $status in
            200) break ;;
            404) gone ;;
            *) back_off ;;
        esac
    done
    if [ "$exit_code" -eq 0 ]; then result=Succeeded; else result=Failed; fi
    echo "Job $job completed with result: $result"
}

if [ "$1" != --listen ]; then
    need base64 cat mkdir rm sed tail wget
    [ -n "$ACTIONS_RUNNER_INPUT_JITCONFIG" ] || fail "ACTIONS_RUNNER_INPUT_JITCONFIG is not set."
    unpack
fi

name=$(member AgentName < "$home/.runner")
server=$(member ServerUrl < "$home/.runner" | sed 's,/*$,,')
client=$(member clientId < "$home/.credentials")
[ -n "$server" ] && [ -n "$client" ] || fail "The JIT configuration has no server or no client."
failures=0
conflicts=0

open_session
echo "Listening for Jobs"
await_job
run_job
finish_job
