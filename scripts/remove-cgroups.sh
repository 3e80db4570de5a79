#!/bin/sh
# Removes the empty cgroup that the tests made their own cgroups in, from every hierarchy.
set -eu
prefix=$1
for cgroup in /sys/fs/cgroup"$prefix" /sys/fs/cgroup/*"$prefix"; do
    [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true
done
