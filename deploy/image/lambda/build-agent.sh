#!/bin/sh
# Compiles the agent from the sources beside this script; in the archive it is agent/build.sh:
#     sh build.sh OUTPUT          CC chooses the compiler, CFLAGS adds to its options
# Statically linked; needs a C compiler, and the C library's and zlib's static forms.
set -eu

[ $# -eq 1 ] || { echo "usage: build.sh OUTPUT" >&2 && exit 2; }
output=$1
case $output in /*) ;; *) output=$(pwd)/$output ;; esac
cd "$(dirname "$0")"
version=$(cat VERSION)
# shellcheck disable=SC2086 # CFLAGS are words
"${CC:-cc}" -std=c17 -O2 -D_GNU_SOURCE -D_FORTIFY_SOURCE=2 "-DMAYFLY_VERSION=\"$version\"" -DMAYFLY_SANITIZED=0 -I. \
    -fPIE -static-pie -fstack-protector-strong -Wl,-z,relro -Wl,-z,now -pthread ${CFLAGS:-} \
    -o "$output" common/base/*.c common/http/*.c common/payload/*.c deploy/image/agent/*.c -lz
