#!/bin/sh
# The demo: an image on disk becomes a running container in two commands, and the exit status passes through.
set -eu
cd "$(dirname "$0")/.."

show() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

bundle=target/demo
rm -rf "$bundle"

show keg unpack --image target/images/demo:latest "$bundle"
target/keg unpack --image target/images/demo:latest "$bundle"

id=demo-$$
show keg run --bundle "$bundle" "$id"
status=0
target/keg run --bundle "$bundle" "$id" || status=$?

show 'echo $?'
echo "$status"
if [ "$status" != 42 ]; then
    echo "demo: the program inside exits with 42" >&2
    exit 1
fi
