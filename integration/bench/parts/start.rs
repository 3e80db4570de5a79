//! Starting containers, and working with one that runs.

use serde_json::Value;

use crate::Result;
use crate::blocks::{Workload, measure as blocks};
use crate::bundles::{PLACES, add_user_namespace, without_network_namespace};
use crate::operations::{Bench, Operation, unchanged};
use crate::pairs::{self, Pair};
use crate::profiles::Engine;
use crate::results::Row;

/// The workloads that other modules look up by name.
pub const RUN: &str = "run";
pub const COLD: &str = "run, nothing in memory";
pub const DOCKER: &str = "run, Docker's seccomp profile";
pub const PODMAN: &str = "run, Podman's seccomp profile";
pub const DOCKERS_COST: &str = "what Docker's seccomp profile costs";
pub const PODMANS_COST: &str = "what Podman's seccomp profile costs";

fn with_docker_profile(_: &Bench, config: &mut Value) -> Result<()> {
    Engine::Docker.apply(config)
}

fn with_podman_profile(_: &Bench, config: &mut Value) -> Result<()> {
    Engine::Podman.apply(config)
}

fn without_docker_profile(_: &Bench, config: &mut Value) -> Result<()> {
    Engine::Docker.apply_without(config)
}

fn without_podman_profile(_: &Bench, config: &mut Value) -> Result<()> {
    Engine::Podman.apply_without(config)
}

fn in_user_namespace(_: &Bench, config: &mut Value) -> Result<()> {
    add_user_namespace(config);
    Ok(())
}

fn on_host_network(_: &Bench, config: &mut Value) -> Result<()> {
    without_network_namespace(config);
    Ok(())
}

fn with_mounts(bench: &Bench, config: &mut Value) -> Result<()> {
    bench.bundles.add_mounts(config, 10);
    Ok(())
}

fn with_many_mounts(bench: &Bench, config: &mut Value) -> Result<()> {
    bench.bundles.add_mounts(config, PLACES);
    Ok(())
}

pub fn measure(bench: &Bench) -> Vec<Row> {
    let run = Workload::default;
    let workloads = [
        Workload { name: RUN, with_floor: true, times: 2, ..run() },
        Workload {
            name: "create, start, delete",
            operation: Operation::Lifecycle,
            change: &unchanged,
            ..run()
        },
        Workload { name: DOCKER, change: &with_docker_profile, ..run() },
        Workload { name: PODMAN, change: &with_podman_profile, ..run() },
        Workload { name: "run, user namespace", change: &in_user_namespace, ..run() },
        Workload { name: "run, the host's network", change: &on_host_network, ..run() },
        Workload { name: "run, 10 mounts more", change: &with_mounts, ..run() },
        Workload { name: "run, 1,000 mounts more", change: &with_many_mounts, block: 4, ..run() },
    ];
    let mut rows: Vec<Row> = workloads.iter().flat_map(|workload| blocks(bench, workload)).collect();
    let pairs = [
        Pair { name: DOCKERS_COST, with: &with_docker_profile, without: &without_docker_profile },
        Pair { name: PODMANS_COST, with: &with_podman_profile, without: &without_podman_profile },
    ];
    rows.extend(pairs.iter().flat_map(|pair| pairs::measure(bench, pair)));
    rows
}

pub fn cold(bench: &Bench) -> Vec<Row> {
    blocks(bench, &Workload { name: COLD, cold: true, block: 5, ..Workload::default() })
}

pub fn commands(bench: &Bench) -> Vec<Row> {
    let operations = [Operation::Exec, Operation::State, Operation::KillDelete];
    let workload = |operation: Operation| {
        let is_exec = operation == Operation::Exec;
        let times = if is_exec { 2 } else { 1 };
        Workload { name: operation.name(), operation, with_spawn: is_exec, times, ..Workload::default() }
    };
    operations.into_iter().flat_map(|operation| blocks(bench, &workload(operation))).collect()
}

/// What `make bench-quick` shows.
pub fn quick(rounds: usize) -> Result<Vec<Row>> {
    let (bench, mut rows) = Bench::new(rounds)?;
    for operation in [Operation::Run, Operation::Lifecycle, Operation::Exec, Operation::State] {
        let with_floor = operation == Operation::Run;
        rows.extend(blocks(
            &bench,
            &Workload { name: operation.name(), operation, with_floor, ..Workload::default() },
        ));
    }
    Ok(rows)
}
