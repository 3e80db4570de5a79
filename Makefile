# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.

comma := ,
HOST_TRIPLE := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
JOBS ?= $(shell nproc)
# Relative relocations are packed: a sixteenth of the binary otherwise, read and worked through at every start. Where the crates lie on the
# building machine is nobody's business.
STATIC_FLAGS := RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs \
	--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/='
RELEASE_BUILD := --locked --release --target $(HOST_TRIPLE) -j $(JOBS)
RELEASE := target/$(HOST_TRIPLE)/release
# Generated tests are the same every time; another seed may find more.
export PROPTEST_RNG_SEED ?= 1
# Sanitizers want a nightly compiler, and look for what safe code does not do: here panics and assertions are looked for.
FUZZ ?= $(shell sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"/\1/p' fuzz/Cargo.toml)
FUZZ_SECONDS ?= 600
# What is left out of keg, and what stands together in it.
LAYOUT := no-unwinding start-first
# Functions that are the same are there once, where the linker is LLD, as it is on x86_64.
FOLDED := $(if $(filter x86_64-unknown-linux-gnu,$(HOST_TRIPLE)),-C link-arg=-Wl$(comma)--icf=all)
SIZE_LIMIT := 3670016
# The crates of hooks/, each a program keg-hook-NAME.
HOOKS := cni trace
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# cargo-nextest where there is one; its absence costs speed, not tests.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
RUN_TESTS := $(if $(NEXTEST),cargo nextest run --locked --no-fail-fast,cargo test --locked --no-fail-fast)

WITHOUT_STRESS := $(if $(NEXTEST),-E 'not test(/^stress::/)',-- --skip stress::)

# What needs root runs as root; what is built belongs to the caller.
AS_ROOT := $(if $(SUDO),sudo -E env "PATH=$$PATH",)
ROOT_TEST := $(if $(SUDO),env CARGO_TARGET_$(shell echo $(HOST_TRIPLE) | tr a-z- A-Z_)_RUNNER='sudo -E',) $(RUN_TESTS)

# The virtual machine: where its image is kept, and what runs in it; without TEST what integration/vm/suite says. `make vm
# TEST="cgroups:: lifecycle::" KEG_DRIVER=systemd` runs something else.
VM_IMAGE ?= target/vm
TEST ?=
VM_PACKAGES ?=
# Which test programs: crates of the workspace.
VM_TESTS ?= integration
VM_LIMIT ?= 1200
export VM_TESTS
IN_VM = $(AS_ROOT) integration/vm/run.sh --read-only --timeout $(VM_LIMIT) --env KEG_UNDER_TEST --env KEG_DRIVER --env KEG_SWEEP --env VM_TESTS

PACKAGES := attr bash binutils buildah busybox-static crun gcc iproute2 jq libarchive-tools libc6-dev libcap2-bin mmdebstrap runc skopeo \
	strace uidmap umoci util-linux
# What the virtual machine is made of.
PACKAGES += cpio dbus e2fsprogs qemu-system-x86 xz-utils
# The callers that the tests drive.
PACKAGES += catatonit conmon containerd criu docker.io iptables podman protobuf-compiler
# The plugins that keg-hook-cni and containerd's CRI plugin run in tests.
PACKAGES += containernetworking-plugins
# What keg is compared with, what that is built with, and the packages that the image set is made of.
BENCH_PACKAGES := clang golang-github-containers-common isal libclang-dev libelf-dev libseccomp-dev pigz pkg-config python3-pip zlib1g-dev zstd

.DEFAULT_GOAL := help
.PHONY: help setup build probe image demo lint unit integration peers vm-image vm vm-callers test conformance runtime-tools bench bench-quick bench-programs order fuzz clean

help: ## list the targets (the default)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1 \2/p' Makefile | while read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

setup: ## install the Debian packages that are missing, check the Rust toolchain
	@scripts/setup.sh $(PACKAGES)

build: ## build the static release binary target/keg, and the hooks target/keg-hook-*
	$(STATIC_FLAGS) cargo rustc $(RELEASE_BUILD) -p keg --bin keg -- -C link-arg=-Wl,-e,keg_start \
		-C link-arg=-Wl,--no-eh-frame-hdr $(FOLDED) $(LAYOUT:%=-C link-arg=-Wl,-T,$(CURDIR)/scripts/%.ld)
	@cp $(RELEASE)/keg target/keg.new && mv target/keg.new target/keg
	@scripts/check-binary.sh target/keg $(SIZE_LIMIT)
	$(STATIC_FLAGS) cargo build $(RELEASE_BUILD) $(HOOKS:%=-p keg-hook-%)
	@set -e; for hook in $(HOOKS:%=target/keg-hook-%); do \
		cp $(RELEASE)/$${hook#target/} $$hook.new && mv $$hook.new $$hook; scripts/check-binary.sh $$hook $(SIZE_LIMIT); done

probe: ## build target/probe, the program that the integration tests run inside containers
	$(STATIC_FLAGS) cargo build $(RELEASE_BUILD) -p probe
	@cp $(RELEASE)/probe target/probe.new && mv target/probe.new target/probe

image: setup ## build the OCI images for demo and tests under target/images, from Debian packages
	@$(AS_ROOT) integration/images/build.sh target/images

demo: setup build image ## unpack a real image and run it
	@$(AS_ROOT) scripts/demo.sh

lint: ## rustfmt and clippy, no warning allowed
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

unit: ## tests without root: parsers, plans, states, layers
	$(RUN_TESTS) -p keg $(HOOKS:%=-p keg-hook-%)

integration: build probe image ## tests with root; KEG_UNDER_TEST=runc|crun|PATH runs them against another runtime
	$(ROOT_TEST) -p integration -p cri
	@$(AS_ROOT) scripts/remove-cgroups.sh /keg-test

peers: build probe ## the integration tests against Debian's runc and crun, without the stress tests
	KEG_UNDER_TEST=runc $(ROOT_TEST) -p integration $(WITHOUT_STRESS)
	KEG_UNDER_TEST=crun $(ROOT_TEST) -p integration $(WITHOUT_STRESS)
	@$(AS_ROOT) scripts/remove-cgroups.sh /keg-test

vm-image: setup ## build the virtual machine's image from Debian packages, in VM_IMAGE
	@$(AS_ROOT) integration/vm/build.sh "$(VM_IMAGE)" $(VM_PACKAGES)

vm: build probe image vm-image ## tests on cgroups of version 2 with systemd, in a virtual machine: TEST="FILTER..." KEG_DRIVER=systemd VM_IMAGE=DIR VM_LIMIT=SECONDS
	@for name in $(VM_TESTS); do \
		executable=$$(RUSTFLAGS='-C target-feature=+crt-static' CARGO_PROFILE_DEV_STRIP=debuginfo cargo test --locked --no-run -p $$name \
			--target $(HOST_TRIPLE) -j $(JOBS) --message-format=json-render-diagnostics \
			| jq -r "select(.executable and .target.name == \"$$name\").executable") && cp "$$executable" target/$$name-tests || exit; done
	@$(IN_VM) "$(VM_IMAGE)" . integration/vm/tests.sh $(TEST)
	@[ -n "$(TEST)" ] || $(IN_VM) --append "security=selinux selinux=1 enforcing=0" "$(VM_IMAGE)" . integration/vm/tests.sh

vm-callers: # one after the other: dockerd gives its containerd 15 s, whatever else runs
vm-callers: ## callers with systemd as the cgroup driver, in a virtual machine that has them besides; KEG_SWEEP=full compares with runc
	@$(MAKE) --no-print-directory vm VM_IMAGE="$(VM_IMAGE)-callers" VM_TESTS="integration cri" \
		VM_PACKAGES="catatonit containerd containernetworking-plugins docker.io podman skopeo" KEG_DRIVER=systemd TEST="$(or $(TEST),scopes:: --test-threads=1)"

test: setup lint unit integration vm ## everything: what is missing is installed, then all checks and tests
	@if [ -n "$(RUNTIME_TOOLS)" ]; then $(MAKE) --no-print-directory runtime-tools; \
	else echo "runtime-tools: skipped, RUNTIME_TOOLS does not name a built tree"; fi

conformance: ## make docs/conformance.md of the tables it is made of
	KEG_UPDATE_CONFORMANCE=1 cargo test --locked --test conformance

runtime-tools: build ## run every program of a built runtime-tools tree: RUNTIME_TOOLS=DIR
	@$(AS_ROOT) integration/runtime-tools/run.sh "$(RUNTIME_TOOLS)"

bench: build bench-programs ## write docs/benchmarks.md from measurements of keg and its peers, 30 minutes: ONLY=start,exec ROUNDS=5
	@scripts/setup.sh $(PACKAGES) $(BENCH_PACKAGES)
	@integration/bench/prepare.sh target $(ONLY)
	@$(AS_ROOT) $(RELEASE)/bench all $(or $(ROUNDS),5) $(ONLY)

bench-quick: build bench-programs ## the ratios alone, in less than two minutes: run, lifecycle, exec, state; ROUNDS=3
	@$(AS_ROOT) $(RELEASE)/bench quick $(or $(ROUNDS),3)

order: bench-programs ## write scripts/start-first.ld, which functions stand together, by following keg step by step
	@scripts/setup.sh $(PACKAGES) $(BENCH_PACKAGES)
	$(STATIC_FLAGS) cargo rustc $(RELEASE_BUILD) -p keg --bin keg --target-dir target/order -- -C link-arg=-Wl,-e,keg_start \
		-C link-arg=-Wl,-Map,$(CURDIR)/target/order/$(HOST_TRIPLE)/release/keg.map
	@$(AS_ROOT) $(RELEASE)/bench order target/order/$(HOST_TRIPLE)/release/keg scripts/start-first.ld

bench-programs: # static, so that what is measured with takes little memory itself
	$(STATIC_FLAGS) cargo build $(RELEASE_BUILD) -p integration --bins

fuzz: ## give each target of fuzz/ ten minutes: FUZZ="TARGET..." FUZZ_SECONDS=SECONDS; needs cargo-fuzz
	@cargo fuzz --version >/dev/null 2>&1 || { echo "fuzz: cargo-fuzz is missing, \`cargo install cargo-fuzz\` gets it" >&2; exit 2; }
	RUSTC_BOOTSTRAP=1 cargo fuzz build --sanitizer none
	@for target in $(FUZZ); do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none "$$target" -- -max_total_time=$(FUZZ_SECONDS) || exit; done

clean: ## remove everything that was built
	@$(SUDO) rm -rf target/images target/demo target/vm target/vm-callers
	rm -rf target
