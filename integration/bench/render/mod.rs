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
use crate::rest::BUSY;
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
        let mut when = format!(
            "{} round{}, {} s, {}",
            measured.rounds,
            if measured.rounds == 1 { "" } else { "s" },
            measured.seconds,
            measured.date
        );
        if let Some(busy) = measured.busy {
            write!(when, ", while others took {} of the CPUs", percent(busy))?;
        }
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
               command line, no record of the container, no checks, no sealed copy of itself. What a seccomp profile costs is measured in pairs: one run with \
               it and one without, with the same capabilities, the second first in every second pair; what is shown is the median of the \
               differences, which says more than a difference of medians.",
    },
    Section {
        part: Part::Exec,
        title: "Working with a container",
        text: "`exec` runs `true` in a container that is there, and waits for it. `kill, delete` is the time of both calls, without \
               the time that the process takes to die in between. `spawn alone` is a program that makes one system call, exit: what the harness and the \
               kernel take to start any program is in every row.",
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
               containers of the same runtime that run, and without them before and after. The kernel copies each mount of the host for \
               a new mount namespace: where there are many, keg has it copy a namespace with hardly any instead. It looks at each \
               container's cgroup, sysfs and process when it makes another; how much that is the floor shows, which is measured among \
               keg's containers.",
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
         rounds, in which each comes as often after each of the others, so that neither the teardown of one nor the mood of the machine weighs on another. Everything is measured twice, in private views of \
         the host's cgroups: version 1 alone, and version 2 alone as most machines have it. A runtime that refuses a view is left out there, \
         with its own words. What runtimes keep of their containers (`--root`) is in memory, as /run is, bundles and programs are on \
         the disk. Times are wall-clock times from outside, in milliseconds: a monotonic clock before the spawn (`posix_spawn`, which copies nothing) and \
         after the wait, standard streams that are opened before and read afterwards, nothing else in between. A ratio says how many times \
         longer than keg it takes; the machine's mood lasts longer than a block, so that the ratios of each round say how far it may be off.\n",
    );
    let busy: Vec<String> = results
        .parts
        .iter()
        .filter_map(|(name, part)| Some((name, part.busy.filter(|&busy| busy > BUSY)?)))
        .map(|(name, busy)| format!("{name} {}", percent(busy)))
        .collect();
    if !busy.is_empty() {
        writeln!(
            text,
            "\n> **Measured on a busy machine**: while nothing was measured others took of the CPUs: {}. Ratios and minima still mean \
             something, times and percentiles don't.",
            busy.join(", ")
        )?;
    }
    if results.parts.values().any(|part| part.keg != results.keg) {
        writeln!(text, "\n> Not every part was measured with the same build of keg.")?;
    }
    Ok(text)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn machine(results: &Results) -> String {
    let minutes = results.parts.values().map(|part| part.seconds).sum::<u64>().div_ceil(60);
    let mut text = format!(
        "\n## Machine and programs\n\nAll parts of this page took {minutes} minutes together.\n\n| | |\n|---|---|\n"
    );
    for (key, value) in results.machine.iter().chain(&results.versions) {
        text += &format!("| {key} | {value} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{head, write};
    use crate::pairs;
    use crate::results::{Part, Results, Row};
    use crate::{Result, docs, results_file};

    fn measured(busy: Option<f64>, rows: Vec<Row>) -> Results {
        let (date, keg) = ("2026-01-01 00:00 UTC".to_owned(), String::new());
        let part = Part { date, seconds: 1, rounds: 1, busy, keg, rows };
        Results { parts: [("start".to_owned(), part)].into(), ..Results::default() }
    }

    #[test]
    fn a_busy_machine_is_told() -> Result<()> {
        for (busy, told) in [(None, false), (Some(0.05), false), (Some(0.42), true)] {
            let text = head(&measured(busy, Vec::new()))?;
            assert_eq!(text.contains("took of the CPUs: start 42 %."), told, "{busy:?}: {text}");
        }
        Ok(())
    }

    #[test]
    fn what_a_profile_costs_is_the_median_of_pairs_with_its_interval() -> Result<()> {
        let differences = (1..=100).map(|number| f64::from(number) / 100.0).collect();
        let mut row =
            Row::new(crate::parts::start::PODMANS_COST, "keg", pairs::UNIT).with_interval(differences);
        row.view = "v1".to_owned();
        let dir = tempfile::tempdir()?;
        write(&measured(Some(0.0), vec![row]), dir.path())?;
        let text = fs::read_to_string(dir.path().join("benchmarks.md"))?;
        for line in [
            "| what Podman's seccomp profile costs (v1) | ≤ 0.40 ms | 0.51 ms (0.41–0.60) | ✗ missed |",
            "| what Podman's seccomp profile costs | **keg** | 0.51 | 0.41 – 0.60 | 100 |",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        Ok(())
    }

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
            // They are too long to be shown.
            assert!(published? == made?, "docs/{name} is not what `bench render` makes");
        }
        Ok(())
    }
}
