#!/bin/bash
# Runs a command as root in a throw-away guest: run.sh [OPTION...] GUEST SHARED COMMAND [ARGUMENT...]
#
# The guest is a machine in software emulation (qemu) with Debian's kernel and cgroups of version 2 alone. GUEST is the directory that
# build.sh fills; SHARED is the guest's /share, where the command starts. Its output is ours, as it comes, and so is its status.
#
#   --plain        a shell is PID 1 instead of systemd
#   --read-only    SHARED cannot be changed
#   --env NAME     hand on a variable
#   --append TEXT  words for the kernel's command line, after all others
#   --cpus N       default 2
#   --memory MB    default 1536
#   --timeout S    end the guest after S seconds (default 600): status 124
#
# 125: the guest ended without a status, or could not be started.
# In the guest, `as-user COMMAND...` runs a command as an unprivileged user in a session of its own.
set -u
mode=systemd cpus=2 memory=1536 timeout=600 access=rw append= variables=()

die() {
    echo "vm: $*" >&2
    exit 125
}

while [ $# -gt 0 ]; do
    case $1 in
    --plain) mode=plain ;;
    --read-only) access=ro ;;
    --env) variables+=("$2"); shift ;;
    --append) append=$2; shift ;;
    --cpus) cpus=$2; shift ;;
    --memory) memory=$2; shift ;;
    --timeout) timeout=$2; shift ;;
    -h | --help)
        sed -n '2,/^set/s/^# \?//p' "$0"
        exit 0
        ;;
    -*) die "unknown option $1" ;;
    *) break ;;
    esac
    shift
done
[ $# -ge 3 ] || die "usage: run.sh [OPTION...] GUEST SHARED COMMAND [ARGUMENT...]"
here=$(dirname "$(realpath "$0")")
guest=$(realpath -e "$1") || die "no such directory: $1"
share=$(realpath -e "$2") || die "no such directory: $2"
shift 2
[ -e "$guest/root.ext4" ] || die "$guest has no guest: build.sh makes it"
command -v qemu-system-x86_64 >/dev/null || die "qemu-system-x86_64 is missing: \`make setup\` installs it"

work=$(mktemp -d) || die "no temporary directory"
qemu= watch=
clean_up() {
    [ -z "$qemu" ] || kill -9 "$qemu" 2>/dev/null
    [ -z "$watch" ] || kill "$watch" 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

quoted() {
    local word
    for word in "$@"; do printf "'%s' " "${word//\'/\'\\\'\'}"; done
}

# The command and the project's files travel in a second archive behind the initrd.
cp -r "$here/guest" "$work/initrd"
mv "$work/initrd/root" "$work/initrd/guest"
{
    for name in "${variables[@]}"; do [ -z "${!name+set}" ] || echo "export $name=$(quoted "${!name}")"; done
    echo "exec $(quoted "$@")"
} >"$work/initrd/guest/guest-command"
{
    cat "$guest/initrd"
    (cd "$work/initrd" && find . | cpio -o -H newc -R 0:0 --quiet)
} >"$work/initrd.cpio" || die "no initrd"

# norandmaps is the biggest win by far: the emulator throws translated code away with every address that changes.
options="console=ttyS0 quiet loglevel=4 panic=-1 reboot=t mitigations=off random.trust_cpu=on tsc=reliable lpj=4000000 no_timer_check
    raid=noautodetect norandmaps systemd.unit=guest.target systemd.show_status=0 systemd.log_target=null
    guest.mode=$mode guest.share=$access $append"
mkfifo "$work/output"
cat "$work/output" &
copier=$!
TMPDIR=$work setpriv --pdeathsig KILL qemu-system-x86_64 -accel tcg,thread=multi,tb-size=256 -M q35 -cpu max -smp "$cpus" -m "$memory" \
    -nodefaults -no-user-config -display none -no-reboot -serial "file:$work/console" \
    -kernel "$guest/vmlinux" -initrd "$work/initrd.cpio" -append "${options//$'\n'/}" \
    -drive "if=none,id=root,file=$guest/root.ext4,format=raw,snapshot=on,cache=unsafe" -device virtio-blk-pci,drive=root \
    -fsdev "local,id=share,path=$share,security_model=none,multidevs=remap" -device virtio-9p-pci,fsdev=share,mount_tag=share \
    -device virtio-serial-pci -chardev "file,id=output,path=$work/output" -device virtserialport,chardev=output,name=output \
    -chardev "file,id=status,path=$work/status" -device virtserialport,chardev=status,name=status </dev/null >&2 &
qemu=$!
(
    sleep "$timeout" &
    trap 'kill $!' TERM
    wait $! && : >"$work/timeout" && kill -9 "$qemu"
) 2>/dev/null &
watch=$!
{ wait "$qemu"; } 2>/dev/null
qemu=
# The copier ends with qemu. If qemu never opened the pipe, this ends it.
sleep 0.02
: <>"$work/output"
wait "$copier"
if [ -e "$work/timeout" ]; then
    echo "vm: ended after $timeout s; the console's last lines:" >&2
    tail -n 20 "$work/console" >&2
    exit 124
fi
status=$(cat "$work/status" 2>/dev/null)
case $status in
'' | *[!0-9]*)
    echo "vm: the guest ended without a status; the console's last lines:" >&2
    tail -n 40 "$work/console" >&2
    exit 125
    ;;
esac
exit "$status"
