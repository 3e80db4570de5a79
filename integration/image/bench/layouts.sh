#!/bin/bash
# Builds the image layouts that unpacking is measured with, from Debian and PyPI packages: `layouts.sh DIR`. About 3 GB.
#
#   DIR/base     one layer, Debian's important packages
#   DIR/python   eight layers: that base, an interpreter, scientific wheels, 25,000 small files, whiteouts and opaque directories
#   DIR/fat      the same wheels in one layer
#   DIR/zstd     as python, its layers compressed with zstd
set -euo pipefail

out=$(realpath -m "$1")
[ ! -e "$out/.complete" ] || exit 0
rm -rf "$out"
mkdir -p "$out/parts/wheels"
cd "$out/parts"
umask 022
arch=$(dpkg --print-architecture)

say() { echo "layouts: $*" >&2; }

wheels() { # wheels LAYER PACKAGE...
    local layer=$1
    shift
    pip3 download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 -d "wheels/$layer" "$@"
    mkdir -p "$layer/usr/lib/python3/dist-packages"
    local wheel
    for wheel in "wheels/$layer"/*.whl; do python3 -m zipfile -e "$wheel" "$layer/usr/lib/python3/dist-packages"; done
}

interpreter() {
    mkdir debs interpreter
    (cd debs && apt-get download --quiet python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3.11 libexpat1)
    local deb
    for deb in debs/*.deb; do dpkg-deb -x "$deb" interpreter; done
}

# Deletes what the layers below have, in the three ways that layers can, and adds a little.
changes() {
    local packages=changes/usr/lib/python3/dist-packages package
    for package in numpy scipy pandas; do
        mkdir -p "$packages/$package"
        touch "$packages/$package/.wh.tests"
    done
    mkdir -p "$packages/ansible_collections/community" "$packages/matplotlib/mpl-data/sample_data" changes/usr/share/doc
    touch "$packages/ansible_collections/community/.wh.general" "$packages/matplotlib/mpl-data/sample_data/.wh..wh..opq" \
        changes/usr/share/doc/.wh..wh..opq
    echo kept >"$packages/matplotlib/mpl-data/sample_data/only"
}

# Writes DIR/NAME from tars: `image NAME gzip|zstd TAR...`. A blob that another layout has is linked.
image() {
    local name=$1 how=$2 tar blob diff_ids=() layers=() config manifest
    shift 2
    local dir=$out/$name
    mkdir -p "$dir/blobs/sha256"
    for tar in "$@"; do
        blob=$tar.$how
        [ -e "$blob" ] || case $how in gzip) gzip -6n <"$tar" >"$blob" ;; zstd) zstd -q -3 <"$tar" >"$blob" ;; esac
        diff_ids+=("\"sha256:$(sha256sum "$tar" | cut -c1-64)\"")
        layers+=("$(add "$dir" "$blob" "application/vnd.oci.image.layer.v1.tar+$how")")
    done
    local IFS=,
    echo "{\"architecture\":\"$arch\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[${diff_ids[*]}]}}" >config
    config=$(add "$dir" config application/vnd.oci.image.config.v1+json)
    echo "{\"schemaVersion\":2,\"config\":$config,\"layers\":[${layers[*]}]}" >manifest
    manifest=$(add "$dir" manifest application/vnd.oci.image.manifest.v1+json)
    manifest=${manifest%\}},\"annotations\":{\"org.opencontainers.image.ref.name\":\"latest\"}}
    echo '{"imageLayoutVersion":"1.0.0"}' >"$dir/oci-layout"
    echo "{\"schemaVersion\":2,\"manifests\":[$manifest]}" >"$dir/index.json"
}

add() { # add LAYOUT FILE MEDIA_TYPE
    local digest
    digest=$(sha256sum "$2" | cut -c1-64)
    ln -f "$2" "$1/blobs/sha256/$digest" 2>/dev/null || cp "$2" "$1/blobs/sha256/$digest"
    echo "{\"mediaType\":\"$3\",\"digest\":\"sha256:$digest\",\"size\":$(stat -c %s "$2")}"
    case $2 in config | manifest) rm "$2" ;; esac
}

say "packages"
mmdebstrap --quiet --variant=important bookworm base.tar
interpreter
wheels science numpy scipy pandas pyarrow
wheels pictures matplotlib scikit-learn scikit-image opencv-python-headless
wheels engines polars-runtime-32 duckdb numba llvmlite onnxruntime
wheels collections ansible
wheels small sympy django plotly botocore
changes

say "layers"
tars=(base.tar)
for layer in interpreter science pictures engines collections small changes; do
    tar -C "$layer" --sort=name --numeric-owner --owner=0 --group=0 -cf "$layer.tar" .
    tars+=("$layer.tar")
done
mkdir fat
for layer in interpreter science pictures engines collections small; do cp -al "$layer/." fat; done
tar -C fat --sort=name --numeric-owner --owner=0 --group=0 -cf fat.tar .

say "layouts"
image base gzip base.tar
image python gzip "${tars[@]}"
image fat gzip fat.tar
image zstd zstd "${tars[@]}"
mkdir "$out/tars"
ln "${tars[@]}" fat.tar "$out/tars/"
rm -rf "$out/parts"
touch "$out/.complete"
say "$(du -sh "$out" | cut -f1) in $out"
