#!/bin/sh
# usage: kafka_permissions.sh PROGRAM: starts a broker that refuses what no ACL allows; in it this script again, which gives
# each user its ACLs and runs PROGRAM as that user.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
login='org.apache.kafka.common.security.plain.PlainLoginModule required'
users='none ingress worker reaper mayflyctl'

if [ $# -eq 1 ]; then
    for user in $users; do login="$login user_$user=\"$user\""; done
    exec "$here/../../conformance/with_kafka" --secure \
        --set authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
        --set super.users=User:ANONYMOUS --set "listener.name.sasl.plain.sasl.jaas.config=$login;" \
        -- "$0" "$1" '{kafka}' '{kafka-sasl}' '{kafka-dir}'
fi
program=$1 open=$2 sasl=$3 dir=$4

allow() {
    user=$1
    shift
    "$dir/tool" AclCommand --add --force --allow-principal "User:$user" --resource-pattern-type prefixed "$@" >/dev/null
}
run_as() {
    printf '%s\n' "$1" >"$dir/password-$1"
    "$program" "$sasl/acl?tls=1&ca=$dir/ca.pem&sasl=plain&user=$1&password_file=$dir/password-$1" "$1"
}

"$program" "$open/acl?create=1&partitions=2" admin
allow ingress --topic acl. --operation Write --operation DescribeConfigs
allow worker --topic acl. --operation Write --operation Read
allow worker --group acl. --operation Read
for user in reaper mayflyctl; do
    allow $user --topic acl. --operation Write --operation Read
    allow $user --group acl. --operation Describe
done
if run_as none >"$dir/none.log" 2>&1; then
    echo "a user without ACLs may do everything: the broker checks nothing"
    exit 1
fi
grep 'may not describe it' "$dir/none.log"
for user in ingress worker reaper mayflyctl; do run_as $user; done
