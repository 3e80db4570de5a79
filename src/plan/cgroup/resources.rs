//! `linux.resources` as steps: each setting goes to the hierarchy that has its controller, in the
//! words of that hierarchy's version.

use oci_spec::runtime::{LinuxMemory, LinuxResources};

use super::{DirectoryPlan, Error, HostCgroups, Step, Write, error, v1, v2};

/// Where config.json has the resources.
pub(super) const AT: &str = "linux.resources";

/// What is -1 where there is no sign is how callers say that they ask for nothing.
pub(super) fn swappiness(memory: &LinuxMemory) -> Option<u64> {
    memory.swappiness().filter(|value| *value != u64::MAX)
}

/// Fills in the steps of each directory. `limited`: other limits may be there already.
pub(super) fn fill(
    directories: &mut [DirectoryPlan],
    resources: &LinuxResources,
    host: &HostCgroups,
    limited: bool,
) -> Result<(), Error> {
    let mut steps = Steps { host, directories, limited };
    if let Some(memory) = resources.memory() {
        match steps.version("memory") {
            1 => v1::memory(memory, &mut steps)?,
            _ => v2::memory(memory, &mut steps)?,
        }
    }
    if let Some(cpu) = resources.cpu() {
        match steps.version("cpu") {
            1 => v1::cpu(cpu, &mut steps)?,
            _ => v2::cpu(cpu, &mut steps)?,
        }
        for (name, value) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                steps.write("cpuset", &format!("cpuset.{name}"), value, &format!("cpu.{name}"))?;
            }
        }
    }
    if let Some(pids) = resources.pids() {
        let value = match pids.limit() {
            -1 => "max".to_owned(),
            limit @ 0.. => limit.to_string(),
            limit => {
                return Err(setting(
                    "pids.limit",
                    format!("{limit} is neither -1 nor a number of processes"),
                ));
            }
        };
        steps.write("pids", "pids.max", &value, "pids.limit")?;
    }
    if let Some(block_io) = resources.block_io() {
        match steps.version("blkio") {
            1 => v1::block_io(block_io, &mut steps)?,
            _ => v2::block_io(block_io, &mut steps)?,
        }
    }
    hugepages(resources, &mut steps)?;
    if let Some(network) = resources.network() {
        v1::network(network, &mut steps)?;
    }
    rdma(resources, &mut steps)?;
    v2::unified(resources, &mut steps)
}

/// `-1` is no limit, and other negative numbers are mistakes. `None`: nothing is to be set.
pub(super) fn bytes(value: Option<i64>, name: &str) -> Result<Option<i64>, Error> {
    match value {
        None | Some(0) => Ok(None),
        Some(value @ (-1 | 1..)) => Ok(Some(value)),
        Some(value) => Err(setting(name, format!("{value} is neither -1 nor a number of bytes"))),
    }
}

/// What is wrong with one setting of `linux.resources`.
pub(super) fn setting(name: &str, problem: impl Into<String>) -> Error {
    error(&format!("{AT}.{name}"), problem)
}

/// What version 2 has no file for.
pub(super) fn not_in_v2(name: &str) -> Error {
    setting(name, "cgroup version 2 has no such setting")
}

/// A number of pages or bytes as version 2 writes it.
pub(super) fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn hugepages(resources: &LinuxResources, steps: &mut Steps<'_>) -> Result<(), Error> {
    for (n, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let at = format!("hugepageLimits[{n}]");
        let size = limit.page_size();
        let unit = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
        if !unit.is_some_and(|digits| digits.parse::<u32>().is_ok_and(|n| n > 0)) {
            let problem = format!("{size:?} is no page size like 64KB, 2MB or 1GB");
            return Err(setting(&format!("{at}.pageSize"), problem));
        }
        let (file, value) = match steps.version("hugetlb") {
            1 => ("limit_in_bytes", limit.limit().to_string()),
            _ => ("max", or_max(limit.limit())),
        };
        steps.write("hugetlb", &format!("hugetlb.{size}.{file}"), &value, &at)?;
        let mut reserved = write(&format!("hugetlb.{size}.rsvd.{file}"), &value, &at);
        reserved.optional = true;
        steps.push("hugetlb", Step::Write(reserved), &at)?;
    }
    Ok(())
}

fn rdma(resources: &LinuxResources, steps: &mut Steps<'_>) -> Result<(), Error> {
    let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limits) in devices {
        let mut value = name.clone();
        for (key, limit) in [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())] {
            if let Some(limit) = limit {
                value += &format!(" {key}={limit}");
            }
        }
        if value.len() > name.len() {
            steps.write("rdma", "rdma.max", &value, &format!("rdma[{name:?}]"))?;
        }
    }
    Ok(())
}

/// One value for one file that must be there.
pub(super) fn write(file: &str, value: &str, name: &str) -> Write {
    Write {
        file: file.to_owned(),
        value: value.to_owned(),
        otherwise: None,
        optional: false,
        setting: format!("{AT}.{name}"),
    }
}

/// The steps as they are collected, each put to the hierarchy with its controller.
pub(super) struct Steps<'a> {
    host: &'a HostCgroups,
    directories: &'a mut [DirectoryPlan],
    pub(super) limited: bool,
}

impl Steps<'_> {
    /// In which version a controller is to be had: 1 where it is mounted, else 2. `blkio` is known
    /// as `io` there.
    pub(super) fn version(&self, controller: &str) -> u8 {
        let v2 = if controller == "blkio" { "io" } else { controller };
        match self.host.v1_with(controller).is_some() || !self.host.v2_has(v2) && !self.host.v1.is_empty() {
            true => 1,
            false => 2,
        }
    }

    /// Whether version 1 has a controller.
    pub(super) fn v1_has(&self, controller: &str) -> bool {
        self.host.v1_with(controller).is_some()
    }

    /// Whether version 2 has a controller.
    pub(super) fn v2_has(&self, controller: &str) -> bool {
        self.host.v2_has(controller)
    }

    /// Adds a write to whichever version has the controller.
    pub(super) fn write(
        &mut self,
        controller: &str,
        file: &str,
        value: &str,
        name: &str,
    ) -> Result<(), Error> {
        self.push(controller, Step::Write(write(file, value, name)), name)
    }

    /// Adds a step to whichever version has the controller.
    pub(super) fn push(&mut self, controller: &str, step: Step, name: &str) -> Result<(), Error> {
        let v1 = self.host.v1_with(controller);
        if v1.is_none() && !self.host.v2_has(controller) {
            return Err(setting(name, format!("the {controller} controller is not available on this host")));
        }
        let hierarchy = v1.unwrap_or_default();
        for directory in self.directories.iter_mut().filter(|directory| directory.hierarchy == hierarchy) {
            let needed = v1.is_none() && !directory.controllers.iter().any(|known| known == controller);
            if needed {
                directory.controllers.push(controller.to_owned());
            }
            directory.steps.push(step.clone());
        }
        Ok(())
    }

    /// Adds values that bound each other, as many of them as there are.
    pub(super) fn together(
        &mut self,
        controller: &str,
        writes: impl IntoIterator<Item = Option<Write>>,
    ) -> Result<(), Error> {
        let mut writes: Vec<_> = writes.into_iter().flatten().collect();
        let Some(name) = writes.first().and_then(|first| first.setting.strip_prefix(AT)) else {
            return Ok(());
        };
        let name = name.trim_start_matches('.').to_owned();
        match writes.len() {
            1 => self.push(controller, Step::Write(writes.remove(0)), &name),
            _ => self.push(controller, Step::Together(writes), &name),
        }
    }

    /// Adds a write to the version 2 hierarchy, wherever the controller of that name is.
    pub(super) fn write_v2(&mut self, controller: Option<&str>, step: Step) {
        for directory in self.directories.iter_mut().filter(|directory| directory.hierarchy.is_empty()) {
            let known = |name: &str| directory.controllers.iter().any(|known| known == name);
            if let Some(controller) = controller.filter(|name| !known(name)) {
                directory.controllers.push(controller.to_owned());
            }
            directory.steps.push(step.clone());
        }
    }
}
