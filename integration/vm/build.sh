#!/bin/bash
# Builds the guest from Debian packages, kernel included: `build.sh DIR [PACKAGE...]`. A second run does nothing.
#
#   DIR/vmlinux    Debian's kernel, unpacked: the guest need not do it
#   DIR/initrd     busybox and the modules that it takes to mount the root
#   DIR/root.ext4  systemd, D-Bus, AppArmor, a compiler of SELinux policies, other runtimes to compare with, further PACKAGEs, and
#                  the user "user" (1000, 65,536 subordinate ids)
#
# What is the project's own in the guest (guest/) is added when it boots, by run.sh. Needs root.
set -euo pipefail

out=$(realpath -m "$1")
packages=apparmor,attr,bash,busybox-static,crun,dbus,dbus-user-session,iproute2,kmod,libcap2-bin,libpam-systemd,procps,runc
packages+=,secilc,strace,systemd,systemd-sysv,uidmap,util-linux
for package in "${@:2}"; do packages+=,$package; done
mark=$out/.built-from-$({ cat "$0"; echo "$packages"; } | sha256sum | cut -c1-16)

say() { echo "guest: $*"; }
die() {
    echo "vm: $*" >&2
    exit 1
}

[ "$(uname -m)" = x86_64 ] || die "there is a guest for x86_64 only"
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9
[ ! -e "$mark" ] || exit 0
for tool in mmdebstrap mke2fs cpio xz; do
    command -v "$tool" >/dev/null || die "$tool is missing: \`make setup\` installs it"
done
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
umask 022

# The kernel's package is fetched through mmdebstrap's apt and only unpacked: installed, it would make an initrd of its own.
kernel_hook='set -eu; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; cd "$1/.."
    package=$(apt-cache depends linux-image-amd64 | sed -n "s/^ *Depends: \(linux-image-[0-9].*\)/\1/p" | head -n 1)
    apt-get download -q "$package" -o APT::Sandbox::User=root >/dev/null; dpkg-deb -x linux-image-*.deb kernel'

debian() {
    mmdebstrap --quiet --mode=root --variant=minbase --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --include=$packages --customize-hook="$kernel_hook" bookworm "$root"
}

# The boot protocol says where in a bzImage the compressed kernel lies: setup_sects, payload_offset, payload_length.
unpack_kernel() {
    local image=$1 sectors offset length
    sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$image")
    offset=$(od -An -tu4 -j $((0x248)) -N 4 "$image")
    length=$(od -An -tu4 -j $((0x24c)) -N 4 "$image")
    tail -c +$((offset + (sectors + 1) * 512 + 1)) "$image" | head -c "$length" | xz -dc --single-stream >"$2" || true
    [ "$(head -c 4 "$2" | tail -c 3)" = ELF ] || die "no kernel found in $image"
}

# Modules that tests may want; the rest of Debian's kernel is drivers.
modules() {
    local from=$work/kernel/lib/modules/$1 to=$root/usr/lib/modules/$1 directory
    mkdir -p "$to"
    cp "$from"/modules.{order,builtin,builtin.modinfo} "$to/"
    for directory in arch block crypto lib security fs/{9p,autofs,binfmt_misc.ko,configfs,erofs,ext4,fscache,fuse,jbd2,mbcache.ko,netfs,nls} \
        fs/{overlayfs,squashfs} net/{9p,802,8021q,bridge,core,ipv4,ipv6,key,llc,netfilter,netlink,packet,sched,unix,xfrm} \
        drivers/infiniband/{core,sw} drivers/net/{dummy,ifb,macvlan,macvtap,net_failover,tap,tun,veth,virtio_net}.ko drivers/net/{bonding,ipvlan,vxlan} \
        drivers/block/{brd,loop,virtio_blk}.ko drivers/virtio drivers/char/virtio_console.ko drivers/char/hw_random; do
        [ ! -e "$from/kernel/$directory" ] || tar -C "$from" -cf - "kernel/$directory" | tar -C "$to" -xf -
    done
    chroot "$root" /sbin/depmod "$1"
}

initrd() {
    local tree=$work/initrd module
    mkdir -p "$tree"/{bin,modules,proc,sys,dev,root}
    cp "$root/bin/busybox" "$tree/bin/"
    for module in virtio_pci virtio_blk ext4 virtio_console virtio-rng 9p 9pnet_virtio overlay; do
        chroot "$root" /sbin/modprobe -S "$1" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' >"$work/order"
    while read -r module; do
        cp "$root/$module" "$tree/modules/"
        echo "${module##*/}" >>"$tree/modules/order"
    done <"$work/order"
    (cd "$tree" && find . | cpio -o -H newc -R 0:0 --quiet) >"$2"
}

# Nothing starts that no test needs: each unit costs a tenth of a second under emulation.
quiet_systemd() {
    local unit units=$root/etc/systemd/system
    for unit in {systemd-{udevd,random-seed,update-utmp,update-utmp-runlevel,tmpfiles-setup,tmpfiles-setup-dev,sysusers,firstboot},apparmor}.service \
        systemd-{machine-id-commit,hwdb-update,journal-flush,journal-catalog-update,sysctl,modules-load,remount-fs,pstore}.service \
        systemd-{networkd,resolved,timesyncd,binfmt,update-done,boot-system-token}.service systemd-ask-password-{wall,console}.path \
        {e2scrub_reap,kmod-static-nodes,console-getty,ldconfig,modprobe@}.service systemd-tmpfiles-clean.timer getty.target \
        {containerd,docker,podman,podman-auto-update,podman-restart}.service {docker,podman}.socket podman-auto-update.timer \
        {dev-hugepages,dev-mqueue,sys-kernel-debug,sys-kernel-tracing,sys-kernel-config,sys-fs-fuse-connections}.mount \
        proc-sys-fs-binfmt_misc.automount; do
        ln -sf /dev/null "$units/$unit"
    done
    rm -rf "$root"/usr/lib/systemd/{system,user}-generators/* "$root"/etc/systemd/user/*.wants
}

settings() {
    echo guest >"$root/etc/hostname"
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
    printf '127.0.0.1 localhost guest\n::1 localhost\n' >"$root/etc/hosts"
    : >"$root/etc/fstab"
    chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash user
    echo user:100000:65536 | tee "$root/etc/subuid" >"$root/etc/subgid"
    mkdir "$root/share"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
}

say "building the guest from Debian packages (about a minute, once)"
debian || die "Debian's packages cannot be had: no guest, no tests in it"
version=$(ls "$work/kernel/lib/modules")
unpack_kernel "$work/kernel/boot/vmlinuz-$version" "$work/vmlinux"
modules "$version"
initrd "$version" "$work/initrd.cpio"
quiet_systemd
settings
mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1,root_owner=0:0 -m 0 -d "$root" "$work/root.ext4" 4G
rm -f "$out"/.built-from-*
mv "$work/vmlinux" "$work/root.ext4" "$out/"
mv "$work/initrd.cpio" "$out/initrd"
touch "$mark"
say "$(du -csh "$out"/{vmlinux,initrd,root.ext4} | tail -n 1 | cut -f1) in $out"
