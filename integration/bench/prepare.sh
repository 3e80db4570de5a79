#!/bin/bash
# What the benchmark needs besides Debian packages, under TARGET: youki (built once, some minutes), Docker's seccomp profile, the
# image set (built once, some minutes, 4 GB). `prepare.sh TARGET [PART...]`: what is not needed for the named parts is not made.
# What cannot be had is left out of the benchmark, which says so.
set -uo pipefail
cd "$(dirname "$0")/../.."
target=$1
shift
say() { echo "bench: $*" >&2; }

mkdir -p "$target/bench"
if [ ! -x "$target/peers/bin/youki" ]; then
    say "youki is built, once"
    cargo install --quiet youki --version 0.7.0 --features v1,v2,systemd,seccomp,cgroupsv2_devices --root "$target/peers" --locked || say "youki cannot be built: it is left out"
fi

profile=$target/bench/docker-seccomp.json
if [ ! -s "$profile" ]; then
    # The package's one file: installed, it would bring hundreds of others.
    dir=$(mktemp -d)
    package=golang-github-docker-docker-dev
    (cd "$dir" && apt-get download -q "$package" >/dev/null 2>&1) &&
        dpkg-deb --fsys-tarfile "$dir/$package"*.deb |
        tar -xO "./usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json" >"$dir/profile" &&
        mv "$dir/profile" "$profile" || say "Docker's seccomp profile cannot be had: it is left out"
    rm -rf "$dir"
fi

case ${*:-unpack} in
*unpack*) integration/image/bench/layouts.sh "$target/bench/images" || say "the image set cannot be built: unpack is left out" ;;
esac
