#!/bin/sh
# In the guest: runs the integration tests of the clone at /share, with the arguments of Rust's test programs.
# What is executed lies on the guest's own disk: pages of programs come slowly from a shared directory.
set -eu
mkdir -p /keg/target/debug /keg/integration
cp /share/target/keg /share/target/probe /share/target/integration-tests /keg/target/
[ "${KEG_UNDER_TEST:-}" != debug ] || cp /share/target/debug/keg /keg/target/debug/
ln -s /share/target/images /keg/target/images
export CARGO_MANIFEST_DIR=/keg/integration KEG_UNDER_TEST="${KEG_UNDER_TEST:-/keg/target/keg}"
cd /keg/integration
# The session's directory is to be there before tests have mount namespaces of their own.
as-user true
tests=$(/keg/target/integration-tests --list "$@" | grep -c ': test$') || {
    echo "vm: no test is called $*" >&2
    exit 1
}
echo "vm: $tests tests on $(uname -sr), $(cat /proc/1/comm) as PID 1, controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
exec /keg/target/integration-tests "$@"
