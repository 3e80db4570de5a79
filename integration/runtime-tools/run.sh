#!/bin/bash
# Runs every validation program of a built runtime-tools tree against a runtime: `run.sh TREE [PROGRAM...]`.
#
# KEG_UNDER_TEST names the runtime as it does for the integration tests: runc, crun or a path; without it, target/keg.
# Each program runs in a private directory and mount namespace, for at most LIMIT seconds; what it leaves is removed.
# With LOGS=DIR the output of every program is kept there. Exit status 0: every program that ran and is listed in `must-pass`
# passed; the others ask for what this kernel lacks, or for the opposite of what callers need.
set -uo pipefail

limit=${LIMIT:-120}
# Some programs race with themselves: killsig sends its signal while the shell inside may not have set its trap.
attempts=3
tree=${1:-}
shift || true
if [ -z "$tree" ]; then
    echo "runtime-tools: RUNTIME_TOOLS must name a built tree (make runtimetest validation-executables)" >&2
    exit 2
fi
tree=$(realpath "$tree") || exit 2
if [ ! -x "$tree/runtimetest" ]; then
    echo "runtime-tools: $tree/runtimetest is missing: the tree is not built" >&2
    exit 2
fi

here=$(dirname "$(realpath "$0")")
runtime=${KEG_UNDER_TEST:-$here/../../target/keg}
runtime=$(realpath "$(command -v "$runtime")") || { echo "runtime-tools: no runtime at $runtime" >&2; exit 2; }

hierarchies() { awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/self/mounts; }

# The cgroups that the programs name themselves.
cgroups() { for h in $(hierarchies); do echo "$h/cgrouptest" "$h/testdir"; done; }

# In a private mount namespace: the host's hierarchies as they are, and beside them those controllers that are in none, where the
# kernel lets them go. They are gone again with the last mount.
add_controllers() {
    local all=$1/cgroup hierarchy controller
    [ "$(stat -f -c %T /sys/fs/cgroup)" = tmpfs ] || return 0
    mkdir "$all" && mount -t tmpfs -o mode=755 cgroup "$all" || return 1
    find /sys/fs/cgroup -maxdepth 1 -type l -exec cp -P {} "$all" \;
    for hierarchy in $(hierarchies); do
        mkdir "$all/$(basename "$hierarchy")" && mount --bind "$hierarchy" "$all/$(basename "$hierarchy")" || return 1
    done
    for controller in net_cls net_prio hugetlb; do
        [ -e "$all/$controller" ] && continue
        mkdir "$all/$controller"
        mount -t cgroup -o "$controller" cgroup "$all/$controller" 2>/dev/null || rmdir "$all/$controller"
    done
    mount --rbind "$all" /sys/fs/cgroup
}

# A hierarchy goes with its last mount, but not while it has cgroups that were removed and are still dying.
release_controllers() {
    local controller attempt
    mkdir "$1/release"
    for controller in net_cls net_prio hugetlb; do
        for attempt in {1..50}; do
            if ! grep -q ":$controller:" /proc/self/cgroup || grep -q "^cgroup .*[ ,]$controller[ ,]" /proc/self/mounts; then
                break
            fi
            [ "$attempt" = 1 ] || sleep 0.1
            mount -t cgroup -o "$controller" cgroup "$1/release" && umount "$1/release"
        done
    done
    rmdir "$1/release"
}

# What a program sees as its runtime: a state directory of its own; and no hybrid layout for crun, which refuses it.
wrapper() {
    cat <<END
#!/bin/sh
[ $(basename "$runtime") != crun ] || umount /sys/fs/cgroup/unified 2>/dev/null
exec $runtime --root $1/root "\$@"
END
}

# One program in a new private directory; its output goes to $2.
run() {
    local program=$1 log=$2 private status
    private=$(mktemp -d)
    chmod 755 "$private" # programs with a user namespace must reach their bundle
    cp "$tree"/rootfs-*.tar.gz "$tree/runtimetest" "$private/"
    mkdir "$private/root" "$private/tmp"
    wrapper "$private" >"$private/runtime"
    chmod +x "$private/runtime"
    TMPDIR=$private/tmp RUNTIME=$private/runtime unshare --mount --propagation slave \
        bash -c 'validate "$@"' validate "$private" "$limit" "$program" >"$log" 2>&1 </dev/null
    status=$?
    unshare --mount --propagation slave bash -c 'release_controllers "$@"' release "$private" >>"$log" 2>&1
    rm -rf --one-file-system "$private"
    return $status
}

# The part of it in the private mount namespace.
validate() {
    local private=$1 limit=$2 program=$3 status
    cd "$private" && add_controllers "$private" || return 1
    timeout --kill-after=5 "$limit" "$program"
    status=$?
    clean "$private"
    return $status
}

clean() {
    local id
    for id in $(ls "$1/root"); do
        echo "# left behind: $id"
        timeout 30 "$1/runtime" delete --force "$id"
    done
    for cgroup in $(cgroups); do
        [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} \;
    done
}
export -f hierarchies cgroups add_controllers release_controllers validate clean

count() { grep -cE "$1" "$2"; }

must_pass() { grep -qx "$1" "$here/must-pass"; }

# Runs a program and says in a word or two how that went.
outcome() {
    local status ok not_ok skip
    run "$1" "$2"
    status=$?
    skip=$(count '^ok.*# SKIP' "$2")
    ok=$(($(count '^ok' "$2") - skip))
    not_ok=$(count '^not ok' "$2")
    if [ $status = 124 ] || [ $status = 137 ]; then
        echo "failed: not done after ${limit}s"
    elif [ $status != 0 ]; then
        echo "failed: exit status $status"
    elif [ "$not_ok" != 0 ]; then
        echo failed
    elif [ $((ok + skip)) = 0 ] && grep -q '^ *"error":' "$2"; then
        # Some programs report nothing but a diagnostic, and that only when something is wrong.
        echo "failed: $(grep -m1 -oP '^ *"error": "\K[^"\\]*' "$2")"
    elif [ "$ok" = 0 ] && [ "$skip" != 0 ]; then
        echo skipped
    else
        echo passed
    fi
}

logs=${LOGS:-$(mktemp -d)}
mkdir -p "$logs"
passed=0 failed=0 skipped=0 broken=
format='%-40s %5s %7s %8s  %s\n'
# shellcheck disable=SC2059 # the format is ours
printf "$format" program ok "not ok" skipped result
for program in "$tree"/validation/*/*.t; do
    name=$(basename "$program" .t)
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    attempt=1
    while :; do
        result=$(outcome "$program" "$logs/$name")
        [ "$result" != passed ] && [ "$attempt" -lt "$attempts" ] && must_pass "$name" || break
        attempt=$((attempt + 1))
    done
    skip=$(count '^ok.*# SKIP' "$logs/$name")
    ok=$(($(count '^ok' "$logs/$name") - skip))
    not_ok=$(count '^not ok' "$logs/$name")
    [ $attempt = 1 ] || result="$result (attempt $attempt)"
    case $result in
        passed*) passed=$((passed + 1)) ;;
        skipped*) skipped=$((skipped + 1)) ;;
        *) failed=$((failed + 1)) ;;
    esac
    if [[ "$result" != passed* ]] && must_pass "$name"; then
        broken="$broken $name"
    fi
    # shellcheck disable=SC2059
    printf "$format" "$name" "$ok" "$not_ok" "$skip" "$result"
done
[ -n "${LOGS:-}" ] || rm -rf "$logs"
echo "runtime-tools: $((passed + failed + skipped)) programs: $passed passed, $failed failed, $skipped skipped"
if [ -n "$broken" ]; then
    echo "runtime-tools: must pass and did not:$broken"
    exit 1
fi
