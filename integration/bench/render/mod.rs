//! `docs/benchmarks.md` and its plots, made of the results alone: nothing in them is typed by hand.

mod figures;
mod goals;
mod plot;
mod tables;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::parts::Part;
use crate::results::{Results, Row};
use crate::views::VIEWS;

pub use tables::print;

/// Writes the document and the plots that it shows.
pub fn write(results: &Results, docs: &Path) -> Result<()> {
    let plots = docs.join("benchmarks");
    fs::create_dir_all(&plots)?;
    let mut text = head(results)?;
    text += &tables::glance(results);
    text += &goals::goals(results);
    text += &goals::losses(results);
    text += &machine(results);
    for section in &SECTIONS {
        let part = section.part.name();
        writeln!(text, "\n## {}\n\n{}\n", section.title, section.text)?;
        let Some(measured) = results.parts.get(part) else {
            writeln!(text, "Not measured: `make bench ONLY={part}`.")?;
            continue;
        };
        let when = format!("{} rounds, {} s, {}", measured.rounds, measured.seconds, measured.date);
        for (name, title, svg) in figures::of(section.part, results) {
            fs::write(plots.join(format!("{name}.svg")), svg)?;
            writeln!(text, "![{title}](benchmarks/{name}.svg)\n")?;
        }
        for view in VIEWS.iter().map(|view| (view.name, view.title)).chain([("", "")]) {
            let rows: Vec<&Row> = measured.rows.iter().filter(|row| row.view == view.0).collect();
            if rows.is_empty() {
                continue;
            }
            if !view.0.is_empty() {
                writeln!(text, "### {}, cgroups of {}\n", section.title, view.1)?;
            }
            text += &match section.part {
                Part::Memory | Part::Calls => tables::beside(&rows),
                Part::Unpack => tables::images(&rows),
                _ => tables::table(&rows),
            };
        }
        writeln!(text, "Measured in {when}.")?;
    }
    Ok(fs::write(docs.join("benchmarks.md"), text)?)
}

struct Section {
    part: Part,
    title: &'static str,
    text: &'static str,
}

const SECTIONS: [Section; 8] = [
    Section {
        part: Part::Start,
        title: "Starting a container",
        text: "The bundle is what `keg spec` writes, with a static busybox's `true` as its program: pid, network, ipc, uts, mount and \
               cgroup namespaces, seven mounts, masked and read-only paths, a device list. The other rows change one thing in it. `floor` is a \
               program (`integration/bench/floor.rs`) that makes the system calls for this bundle and nothing else: no JSON, no \
               command line, no record of the container, no checks, no sealed copy of itself.",
    },
    Section {
        part: Part::Exec,
        title: "Working with a container",
        text: "`exec` runs `true` in a container that is there, and waits for it. `kill, delete` is the time of both calls, without \
               the time that the process takes to die in between.",
    },
    Section {
        part: Part::Parallel,
        title: "64 starts at once",
        text: "64 `run` are started at the same moment: how many are finished per second, and how long each of them took.",
    },
    Section {
        part: Part::Cold,
        title: "Nothing in memory",
        text: "`run` after `sync` and `echo 3 >/proc/sys/vm/drop_caches`: the runtime, its libraries, the bundle and the program come from \
               the disk.",
    },
    Section {
        part: Part::Scale,
        title: "With 1,000 others",
        text: "The same operations with 1,000 mounts in the host's mount namespace and without them, in alternating blocks; and with 1,000 \
               containers of the same runtime that run, and without them before and after. Some of it is the kernel's own: it copies \
               each mount of the host for a new mount namespace, and looks at each container's cgroup, sysfs and process when it makes \
               another. How much that is the floor shows, which is measured among keg's containers.",
    },
    Section {
        part: Part::Memory,
        title: "Memory",
        text: "Peaks are what `wait4` reports: the largest of the runtime's processes that it has waited for. The first process's is \
               its VmHWM between `create` and `start`. The smallest limit is that of the memory cgroup with which `run` \
               succeeds three times out of three, among powers of two and what lies halfway between them.",
    },
    Section {
        part: Part::Calls,
        title: "System calls",
        text: "Of all processes of an operation, the container's own program included, as `strace -f -c` counts them; and how many programs \
               are executed after the runtime itself, the container's own included.",
    },
    Section {
        part: Part::Unpack,
        title: "Unpacking images",
        text: "Images built by `integration/image/bench/layouts.sh` from Debian and PyPI packages, unpacked into a tmpfs, the layout \
               in the page cache; nothing is synced to a disk. keg verifies every digest, size and diff_id, and so does umoci; the pipelines of \
               standard tools verify nothing and leave whiteouts lying in the tree. The pale bars are limits: the same bytes inflated, hashed, \
               or written from plain tars, and nothing else.",
    },
];

fn head(results: &Results) -> Result<String> {
    let mut text = String::from(
        "# Benchmarks\n\nThis page and its plots are generated by `make bench` from what it has just measured; the numbers are kept in \
         `docs/benchmarks/results.json`. `make bench ONLY=start,exec` measures some parts again, `make bench-quick` prints ratios in under \
         two minutes.\n\nRuntimes take turns: 20 runs of one after two that do not count, a pause of 0.3 s, 20 of the next, several \
         rounds, each in another order, so that neither the teardown of one nor the mood of the machine weighs on another. Everything is measured twice, in private views of \
         the host's cgroups: version 1 alone, and version 2 alone as most machines have it. A runtime that refuses a view is left out there, \
         with its own words. Times are wall-clock times from outside, in milliseconds; a ratio says how many times longer than keg it takes.\n",
    );
    let loads = results.parts.values().map(|part| part.load);
    let load = loads.fold(0.0, f64::max);
    if load > 0.7 {
        writeln!(
            text,
            "\n> **Measured on a busy machine** (load average {load:.1} beforehand): these numbers stand in until the next run. Ratios and \
             minima still mean something, times and percentiles don't."
        )?;
    }
    if results.parts.values().any(|part| part.keg != results.keg) {
        writeln!(text, "\n> Not every part was measured with the same build of keg.")?;
    }
    Ok(text)
}

fn machine(results: &Results) -> String {
    let mut text = "\n## Machine and programs\n\n| | |\n|---|---|\n".to_owned();
    for (key, value) in results.machine.iter().chain(&results.versions) {
        text += &format!("| {key} | {value} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::write;
    use crate::results::Results;
    use crate::{Result, docs, results_file};

    #[test]
    fn what_is_published_is_what_the_results_say() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let results = Results::load(&results_file())?;
        assert!(!results.parts.is_empty(), "nothing is published");
        write(&results, dir.path())?;
        let mut names = vec!["benchmarks.md".to_owned()];
        for entry in fs::read_dir(dir.path().join("benchmarks"))? {
            names.push(format!("benchmarks/{}", entry?.file_name().display()));
        }
        for name in names {
            let [published, made] =
                [docs(), dir.path().to_owned()].map(|dir| fs::read_to_string(dir.join(&name)));
            assert_eq!(published?, made?, "docs/{name} is not what `bench render` makes");
        }
        Ok(())
    }
}
