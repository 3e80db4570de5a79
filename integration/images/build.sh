#!/bin/bash
# Builds OCI image layouts from Debian packages: `build.sh DIR`. A second run does nothing.
#
#   DIR/demo     umoci    Debian's essential packages, and an application layer over them
#   DIR/small    umoci    busybox alone, under the same kind of application layer
#   DIR/skopeo   skopeo   the small image as skopeo writes it
#   DIR/buildah  buildah  the small image with one more layer, committed by buildah
#   DIR/pause    umoci    catatonit alone, which waits: what the first container of a pod runs
#
# Each has the tag `latest`. The application layer changes, adds, hardlinks and deletes files of the layer below, makes a
# directory opaque, and carries extended attributes and a file capability.
set -euo pipefail

out=$(realpath -m "$1")
here=$(dirname "$(realpath "$0")")
mark=$out/.built-from-$(cat "$here"/* | sha256sum | cut -c1-16)
[ ! -e "$mark" ] || exit 0

mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
umask 022

say() { echo "images: $*"; }

# Writes the root filesystem of the base layer as a tar file.
debian() {
    mmdebstrap --quiet --variant=essential --include=libcap2-bin,procps bookworm "$1"
}

busybox() {
    local root=$work/busybox
    mkdir -p "$root"/{bin,dev,etc,lib,proc,root,run,sys,tmp,usr/bin,usr/local/bin,usr/share/doc/package,var/lib/data}
    chmod 1777 "$root/tmp"
    cp /bin/busybox "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    ln -s ../../bin/env "$root/usr/bin/env"
    printf 'PRETTY_NAME="busybox from Debian 12"\nID=busybox\n' >"$root/etc/os-release"
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\n' >"$root/etc/group"
    echo 'the base layer' >"$root/etc/issue.net"
    echo 'to be deleted' >"$root/usr/share/doc/package/copyright"
    for n in 1 2 3; do echo "lower $n" >"$root/var/lib/data/$n"; done
    tar -C "$root" --numeric-owner -cf "$1" .
}

pause() {
    local image=$work/layouts/pause:latest bundle=$work/bundle-pause
    umoci init --layout "$work/layouts/pause"
    umoci new --image "$image"
    umoci unpack --image "$image" "$bundle" 2>/dev/null
    install -m 755 /usr/bin/catatonit "$bundle/rootfs/pause"
    umoci repack --image "$image" "$bundle"
    umoci config --image "$image" --config.entrypoint /pause --config.cmd -P
    umoci gc --layout "$work/layouts/pause"
}

# Adds the base layer and the application layer to a new layout: `layout NAME BASE_TAR`.
layout() {
    local image=$work/layouts/$1:latest bundle=$work/bundle-$1
    umoci init --layout "$work/layouts/$1"
    umoci new --image "$image"
    umoci unpack --image "$image" "$bundle" 2>/dev/null
    tar -C "$bundle/rootfs" --numeric-owner --xattrs --xattrs-include='*' -xpf "$2"
    umoci repack --refresh-bundle --image "$image" "$bundle"
    application "$bundle/rootfs"
    umoci repack --image "$image" "$bundle"
    mkdir "$work/opaque-$1"
    echo upper >"$work/opaque-$1/only"
    umoci insert --opaque --image "$image" "$work/opaque-$1" /var/lib/data
    umoci config --image "$image" --config.entrypoint /usr/local/bin/tour --config.cmd 42 --config.workingdir /srv/app \
        --config.env PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --config.env GREETING=hello \
        --config.label org.example.kind="$1" --author 'the test suite'
    umoci gc --layout "$work/layouts/$1"
}

# What the application layer does to the files below it.
application() {
    local root=$1
    mkdir -p "$root/usr/local/bin" "$root/srv/app" "$root/var/lib/data"
    install -m 755 "$here/tour" "$root/usr/local/bin/tour"
    echo 'changed by the application layer' >"$root/etc/issue.net"
    ln "$root/etc/passwd" "$root/srv/app/passwd.hardlink"
    ln -s ../app "$root/srv/app/link"
    rm -rf "$root/usr/share/doc"
    install -o 1000 -g 1000 -m 640 /dev/null "$root/srv/app/owned-by-1000"
    setfattr -n user.colour -v green "$root/srv/app/owned-by-1000"
    cp /bin/busybox "$root/srv/app/with-capability"
    setcap cap_net_raw+ep "$root/srv/app/with-capability"
    install -m 6755 /dev/null "$root/srv/app/setuid-setgid"
    mkfifo "$root/srv/app/fifo"
    mknod "$root/srv/app/null" c 1 3
    printf 'app:x:1000:1000::/srv/app:/bin/sh\n' >>"$root/etc/passwd"
    printf 'app:x:1000:\n' >>"$root/etc/group"
    touch -d '2001-02-03 04:05:06.789' "$root/etc/issue.net"
}

# The small image once more, with a layer that buildah made. Relative: buildah makes a name, lower case only, of the path.
with_buildah() {
    local store=(--root "$work/store" --runroot "$work/run" --storage-driver vfs) container tree
    printf '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
    container=$(buildah "${store[@]}" from --quiet --signature-policy "$work/policy.json" oci:small:latest)
    tree=$(buildah "${store[@]}" mount "$container")
    rm "$tree/etc/issue.net"
    echo 'by buildah' >"$tree/srv/app/buildah"
    buildah "${store[@]}" umount "$container" >/dev/null
    buildah "${store[@]}" commit --quiet --signature-policy "$work/policy.json" "$container" oci:buildah:latest >/dev/null
    buildah "${store[@]}" rm "$container" >/dev/null
}

mkdir "$work/layouts"
say "small image: busybox"
busybox "$work/busybox.tar"
layout small "$work/busybox.tar"
pause
cd "$work/layouts"
skopeo copy --quiet --insecure-policy oci:small:latest oci:skopeo:latest
with_buildah
say "demo image: Debian's essential packages (about a minute, once)"
debian "$work/debian.tar"
layout demo "$work/debian.tar"
touch "$work/layouts/$(basename "$mark")"
rm -rf "$out"
mv "$work/layouts" "$out"
say "$(du -sh "$out" | cut -f1) in $out"
