#!/bin/sh
# In the guest: hybrid.sh COMMAND [ARGUMENT...] sees cgroups in the hybrid layout, and everybody else what they saw before: classes and
# priorities of packets are controllers of version 1 alone, all others are at /sys/fs/cgroup/unified.
set -eu
if [ "$1" != --inside ]; then
    exec unshare --mount "$0" --inside "$@"
fi
shift
top=/sys/fs/cgroup
aside=$(mktemp -d)
mount --move $top "$aside"
mount -t tmpfs -o mode=755 tmpfs $top
mkdir $top/unified $top/net_cls,net_prio
mount --move "$aside" $top/unified
mount -t cgroup -o net_cls,net_prio none $top/net_cls,net_prio
exec "$@"
