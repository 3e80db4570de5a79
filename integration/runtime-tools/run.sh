#!/bin/bash
# Runs every validation program of a built runtime-tools tree against a runtime: `run.sh TREE [PROGRAM...]`.
#
# KEG_UNDER_TEST names the runtime as it does for the integration tests: runc, crun or a path; without it, target/keg.
# Each program runs in a private directory and mount namespace, for at most LIMIT seconds; what it leaves is removed. It sees the host as
# it is, with two exceptions: controllers that are in no hierarchy of version 1 are put into one for the programs that want them, and
# the program that wants a root with all capabilities gets one.
# With LOGS=DIR the output of every program is kept there. Exit status 0: every program that ran and is listed in `must-pass`
# passed, and nothing is left on the host; the other programs ask for what this kernel lacks, or for the opposite of what callers need.
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

# The controllers that a program wants in hierarchies of version 1, and that this host may have in none.
wanted() {
    case $(basename "$1") in
        *network*) echo net_cls net_prio ;;
        *hugetlb*) echo hugetlb ;;
    esac
}

known() { grep -q "^[0-9]*:$1:" /proc/self/cgroup; }

# A hierarchy that somebody has mounted is not ours, wherever that is.
mounted() { grep -qs " - cgroup .*[ ,]$1\(,.*\)\?$" /proc/[0-9]*/mountinfo; }

# Version 2 lets go of a controller that no cgroup below its root has. Where only empty cgroups have it, it is turned off, deepest first.
free_controller() {
    local unified=/sys/fs/cgroup/unified controls control
    grep -qw "$1" "$unified/cgroup.subtree_control" || return 0
    controls=$(find "$unified" -depth -name cgroup.subtree_control -exec grep -lw "$1" {} +)
    for control in $controls; do
        [ -z "$(find "$(dirname "$control")" -mindepth 2 -name cgroup.procs -exec cat {} +)" ] || return
    done
    touch "$2/unified-$1"
    for control in $controls; do
        echo "-$1" >"$control" || return 1
    done
}

# In a private mount namespace: the host's hierarchies as they are, and beside them those controllers that are in none, where the
# kernel lets them go.
add_controllers() {
    local private=$1 all=$1/cgroup hierarchy controller attempt
    shift
    [ $# != 0 ] && [ "$(stat -f -c %T /sys/fs/cgroup)" = tmpfs ] || return 0
    mkdir "$all" && mount -t tmpfs -o mode=755 cgroup "$all" || return 1
    find /sys/fs/cgroup -maxdepth 1 -type l -exec cp -P {} "$all" \;
    for hierarchy in $(hierarchies); do
        mkdir "$all/$(basename "$hierarchy")" && mount --bind "$hierarchy" "$all/$(basename "$hierarchy")" || return 1
    done
    for controller in "$@"; do
        [ -e "$all/$controller" ] && continue
        known "$controller" && mounted "$controller" || touch "$private/release-$controller"
        mkdir "$all/$controller"
        # What version 2 lets go of is not gone at once, and somebody may be using it just now.
        for attempt in {1..150}; do
            known "$controller" || free_controller "$controller" "$private" 2>/dev/null || { sleep 0.2; continue; }
            mount -t cgroup -o "$controller" cgroup "$all/$controller" 2>/dev/null && break
            sleep 0.2
        done
        mountpoint -q "$all/$controller" || { echo "# $controller cannot be had in version 1" && rmdir "$all/$controller"; }
    done
    mount --rbind "$all" /sys/fs/cgroup
}

# A hierarchy goes with its last mount, but neither while it has cgroups nor while those that were removed are dying: then it stays,
# mounted nowhere, and has to be mounted and unmounted again. Whoever comes next would find it in /proc/self/cgroup.
release_controllers() {
    local private=$1 file controller end status=0
    mkdir "$private/release"
    for file in "$private"/release-*; do
        [ -e "$file" ] || continue
        controller=${file##*/release-}
        end=$((SECONDS + 60))
        while known "$controller"; do
            if [ "$SECONDS" -ge "$end" ]; then
                echo "# LEFT BEHIND: the hierarchy $controller of version 1, after 60 s of trying" >&2
                status=1
                break
            fi
            if mount -t cgroup -o "$controller" cgroup "$private/release"; then
                find "$private/release" -mindepth 1 -depth -type d -exec rmdir {} \;
                umount "$private/release"
            fi
            ! known "$controller" || sleep 0.1
        done
        [ ! -e "$private/unified-$controller" ] || echo "+$controller" >/sys/fs/cgroup/unified/cgroup.subtree_control || status=1
    done
    rmdir "$private/release"
    return $status
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
    local program=$1 log=$2 status
    private=$(mktemp -d)
    chmod 755 "$private" # programs with a user namespace must reach their bundle
    cp "$tree"/rootfs-*.tar.gz "$tree/runtimetest" "$private/"
    mkdir "$private/root" "$private/tmp"
    wrapper "$private" >"$private/runtime"
    chmod +x "$private/runtime"
    TMPDIR=$private/tmp RUNTIME=$private/runtime unshare --mount --propagation slave \
        bash -c 'validate "$@"' validate "$private" "$limit" "$program" >"$log" 2>&1 </dev/null
    status=$?
    release
    return $status
}

# What must be gone before anything else on this host runs, also where this script is told to stop.
release() {
    [ -n "$private" ] || return 0
    if ! unshare --mount --propagation slave bash -c 'release_controllers "$@"' release "$private" 2>"$private/said"; then
        grep '^# LEFT BEHIND' "$private/said" >&2 || cat "$private/said" >&2
        left_behind=1
    fi
    rm -rf --one-file-system "$private"
    private=
}
private= left_behind=
trap release EXIT
trap 'exit 130' INT TERM

# The part of it in the private mount namespace.
validate() {
    local private=$1 limit=$2 program=$3 status
    # shellcheck disable=SC2046 # a list of words
    cd "$private" && add_controllers "$private" $(wanted "$program") || return 1
    if wants_full_root "$program"; then
        as_full_root "$private" timeout --kill-after=5 "$limit" "$program"
    else
        timeout --kill-after=5 "$limit" "$program"
    fi
    status=$?
    clean "$private"
    return $status
}

# The program wants each capability of the kernel to be given on. Where the host's root lacks one, the root of a user namespace with
# the same ids has it.
wants_full_root() {
    local last held
    last=$(cat /proc/sys/kernel/cap_last_cap)
    held=$(awk '$1 == "CapBnd:" {print $2}' /proc/self/status)
    [ "$(basename "$1")" = process_capabilities.t ] && [ $((16#$held)) != $(((1 << (last + 1)) - 1)) ]
}

as_full_root() {
    local mapped=$1/mapped pid map
    shift
    mkfifo "$mapped"
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --user sh -c 'read -r _ <"$0" && exec "$@"' "$mapped" "$@" &
    pid=$!
    until [ "$(readlink "/proc/$pid/ns/user")" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
    for map in uid_map gid_map; do echo 0 0 4294967295 >"/proc/$pid/$map"; done
    echo >"$mapped"
    wait $pid
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
export -f hierarchies cgroups wanted known mounted free_controller add_controllers release_controllers
export -f validate wants_full_root as_full_root clean

count() { grep -cE "$1" "$2"; }

must_pass() { grep -qx "$1" "$here/must-pass"; }

# Runs a program; `result` says in a word or two how that went.
outcome() {
    local status ok not_ok skip
    run "$1" "$2"
    status=$?
    skip=$(count '^ok.*# SKIP' "$2")
    ok=$(($(count '^ok' "$2") - skip))
    not_ok=$(count '^not ok' "$2")
    if [ $status = 124 ] || [ $status = 137 ]; then
        result="failed: not done after ${limit}s"
    elif [ $status != 0 ]; then
        result="failed: exit status $status"
    elif [ "$not_ok" != 0 ]; then
        result=failed
    elif [ $((ok + skip)) = 0 ] && grep -q '^ *"error":' "$2"; then
        # Some programs report nothing but a diagnostic, and that only when something is wrong.
        result="failed: $(grep -m1 -oP '^ *"error": "\K[^"\\]*' "$2")"
    elif [ "$ok" = 0 ] && [ "$skip" != 0 ]; then
        result=skipped
    else
        result=passed
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
        outcome "$program" "$logs/$name"
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
[ -z "$broken" ] || echo "runtime-tools: must pass and did not:$broken"
[ -z "$left_behind" ] || echo "runtime-tools: this host is not as it was before: see above"
[ -z "$broken$left_behind" ]
