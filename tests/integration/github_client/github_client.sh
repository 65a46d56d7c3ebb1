#!/bin/sh
# Starts the stand-in for GitHub with a fresh App key and runs the test program $1 against it; $2: the stand-in runner.
set -eu

program=$1
here=$(cd "$(dirname "$0")" && pwd)
fake=$here/../../fakes/github
dir=$(mktemp -d "${TMPDIR:-/tmp}/mayfly-github-client.XXXXXX")
pid=

clean() {
    if [ -n "$pid" ]; then
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap clean EXIT

# Checking requests needs the development packages too, which the demo leaves out.
if [ ! -d "$fake/../node_modules/ajv" ]; then
    echo "github_client: run 'npm ci' in tests/fakes first" >&2
    exit 1
fi

openssl genrsa -out "$dir/app.pem" 2048 2>/dev/null
mkfifo "$dir/first_line"
node "$fake/main.mjs" --port 0 --log "$dir/github.jsonl" --app-id 123456 --app-key "$dir/app.pem" \
    --org acme --repo acme/site --validate >"$dir/first_line" &
pid=$!
# The pipe ends without a line if the stand-in could not start.
read -r line <"$dir/first_line" || { echo "github_client: the stand-in did not start" >&2; exit 1; }
url=$(printf '%s' "$line" | sed -n 's/.*"url":"\([^"]*\)".*/\1/p')

STANDIN=$2 FAKE_URL=$url FAKE_LOG=$dir/github.jsonl APP_ID=123456 APP_KEY=$dir/app.pem \
    LEDGER=sqlite://$dir/ledger.db "$program"
