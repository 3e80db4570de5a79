#!/bin/sh
# What ships is static, stripped and small: `check-binary.sh FILE MAX_BYTES`.
set -eu
file=$1 limit=$2

fail() {
    echo "$file: $1" >&2
    exit 1
}

headers=$(readelf -lW "$file")
case $headers in *INTERP*) fail "not static: it has an interpreter" ;; esac
case $(readelf -dW "$file") in *NEEDED*) fail "not static: it needs shared libraries" ;; esac
case $(readelf -SW "$file") in *" .symtab "*) fail "not stripped" ;; esac
size=$(stat -c %s "$file")
[ "$size" -le "$limit" ] || fail "$size bytes, more than $limit"
echo "$file: static, stripped, $size bytes"
