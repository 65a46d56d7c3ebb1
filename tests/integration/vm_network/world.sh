#!/bin/sh
# Runs a command in a network that is a whole world: this namespace is the host of the VMs, another one plays its router, its
# neighbours, a cloud's metadata, private networks and the internet. Exits 77 where namespaces are not permitted.
#   usage: world.sh DIRECTORY COMMAND …     DIRECTORY gets resolv.conf, and the servers' logs
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "${WORLD_INSIDE:-}" = "" ]; then
    own=
    [ "$(id -u)" = 0 ] || own=-Ur
    if ! unshare $own -nm true 2>/dev/null; then
        echo "skipped: this system permits no network namespaces" >&2
        exit 77
    fi
    WORLD_INSIDE=1 exec unshare $own -nm "$0" "$@"
fi
directory=$1
shift
PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null || { echo "skipped: there is no ip (package iproute2)" >&2; exit 77; }

unshare -n sleep 3600 &
world=$!
trap 'kill $world ${servers:-} 2>/dev/null || true' EXIT
trap 'exit 1' INT TERM
out() { nsenter -t "$world" -n "$@"; }
tries=0
until [ "$(readlink /proc/$world/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do
    tries=$((tries + 1))
    [ $tries -lt 500 ] || { echo "the second namespace did not come up" >&2; exit 1; }
    sleep 0.01
done
ip link add host type veth peer name router netns "$world"
ip link set lo up
ip link set host up
out ip link set lo up
out ip link set router up
# The host: a private, a public and an IPv6 address.
ip addr add 10.50.0.10/24 dev host
ip addr add 52.1.2.3/24 dev host
ip -6 addr add 2a05:d018::10/64 dev host nodad
ip -6 addr add fd00:50::10/64 dev host nodad
# The router and what is behind it, in the order: neighbours, private networks, metadata, internet.
for address in 10.50.0.1/24 10.50.0.77/24 52.1.2.77/24 10.99.0.1/32 172.16.0.1/32 192.168.1.1/32 100.64.0.1/32 \
    100.100.100.200/32 198.18.0.1/32 169.254.169.254/32 169.254.170.2/32 93.184.216.34/32 9.9.9.9/32; do
    out ip addr add "$address" dev router
done
for address in 2a05:d018::1/64 2a05:d018::77/64 fd00:50::1/64 fd00:99::1/128 fd00:ec2::254/128 2606:2800:220::34/128; do
    out ip -6 addr add "$address" dev router nodad
done
ip route add default via 10.50.0.1
ip -6 route add default via 2a05:d018::1
# NAT64 and 6to4 of addresses that matter are the router's too, so that a packet for them would arrive.
for address in 64:ff9b::a9fe:a9fe/128 64:ff9b::5db8:d822/128 2002:7f00:1::1/128; do
    out ip -6 addr add "$address" dev router nodad
done
cp /dev/null "$directory/resolv.conf"
mount --bind "$directory/resolv.conf" /etc/resolv.conf
node "$here/servers.mjs" "$directory/host.log" 127.0.0.53 >"$directory/host.ready" &
servers=$!
# Not by a function, which would be a shell between this one and the process to end.
nsenter -t "$world" -n node "$here/servers.mjs" "$directory/world.log" 9.9.9.9 10.50.0.77 >"$directory/world.ready" &
servers="$servers $!"
until [ -s "$directory/host.ready" ] && [ -s "$directory/world.ready" ]; do
    tries=$((tries + 1))
    [ $tries -lt 3000 ] || { echo "the servers did not come up" >&2; exit 1; }
    sleep 0.01
done
"$@"
