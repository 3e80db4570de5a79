#!/bin/sh
# In the guest: runs the integration tests of the clone at /share, with the arguments of Rust's test programs and KEG_DRIVER as the cgroup
# driver; without arguments what the suite names, with each driver, or on a kernel with SELinux what it names for that. The driver "hybrid"
# is cgroupfs where hybrid.sh has changed the mounts.
# What is executed lies on the guest's own disk: pages of programs come slowly from a shared directory.
set -eu
mkdir -p /keg/target/debug /keg/integration
cp /share/target/keg /share/target/probe /keg/target/
for name in ${VM_TESTS:=integration}; do cp "/share/target/$name-tests" /keg/target/; done
[ "${KEG_UNDER_TEST:-}" != debug ] || cp /share/target/debug/keg /keg/target/debug/
ln -s /share/target/images /keg/target/images
ln -s /share/docs /keg/docs
export CARGO_MANIFEST_DIR=/keg/integration KEG_UNDER_TEST="${KEG_UNDER_TEST:-/keg/target/keg}" KEG_SLOW_MACHINE=1
cd /keg/integration
# The session's directory is to be there before tests have mount namespaces of their own.
as-user true
# Remote memory over the loopback interface, and disks that are files.
modprobe -a loop rdma_rxe
rdma link add keg0 type rxe netdev lo

# A kernel that was told to have SELinux has no policy yet.
if [ -d /sys/fs/selinux ]; then
    mountpoint -q /sys/fs/selinux || mount -t selinuxfs selinuxfs /sys/fs/selinux
    secilc /share/integration/vm/selinux.cil -o /run/selinux-policy -f /dev/null
    cat /run/selinux-policy >/sys/fs/selinux/load
fi

run() {
    driver=$1 layout=
    shift
    [ "$driver" != hybrid ] || {
        # Some of these controllers come with a scheduler, which the other layout is to be without.
        modprobe bfq
        driver=cgroupfs layout=/share/integration/vm/hybrid.sh
    }
    export KEG_DRIVER="$driver"
    found= failed=
    for name in $VM_TESTS; do
        tests=$("/keg/target/$name-tests" --list "$@" | grep -c ': test$') || continue
        found=1
        echo "vm: $tests tests of $name with $KEG_DRIVER${layout:+, hybrid,} on $(uname -sr), $(cat /proc/1/comm) as PID 1," \
            "controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
        $layout "/keg/target/$name-tests" "$@" || failed=1
    done
    [ -n "$found" ] || echo "vm: no test is called $*" >&2
    [ -n "$found" ] && [ -z "$failed" ]
}

[ $# -eq 0 ] || {
    run "${KEG_DRIVER:-cgroupfs}" "$@"
    exit
}
named() {
    awk -v driver="$1" '/^#/ {next} $1 == "-" {sub(/:$/, "", $2); print "--skip", $2; next}
        {for (n = 2; n <= NF; n++) if ($n == driver) print $1}' /share/integration/vm/suite
}

status=0
if [ -d /sys/fs/selinux ]; then
    # shellcheck disable=SC2046
    run cgroupfs $(named selinux)
    exit
fi
for driver in cgroupfs systemd hybrid; do
    # shellcheck disable=SC2046
    run $driver $(named $driver) || status=1
done
left=$(systemctl list-units --all --plain --no-legend 'keg-*'; systemctl list-units --failed --plain --no-legend)
[ -z "$left" ] || {
    echo "vm: units are left: $left" >&2
    status=1
}
exit $status
