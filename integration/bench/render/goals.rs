//! What keg sets out to show beside what was measured, and where it is slower than a peer.

use crate::parts::tools::IMAGES;
use crate::parts::{memory, parallel, scale, start, unpack};
use crate::results::{Ratio, Results};
use crate::views::VIEWS;

use super::tables::shown;

/// One line: what is wanted, what it is, whether that is enough.
struct Goal {
    what: String,
    wanted: String,
    measured: String,
    met: bool,
}

impl Goal {
    /// With where the median lies.
    fn between(mut self, interval: Option<[f64; 2]>) -> Self {
        self.measured += &between(interval);
        self
    }
}

/// Every goal that there are numbers for.
pub fn goals(results: &Results) -> String {
    let mut goals = Vec::new();
    for view in VIEWS.map(|view| view.name) {
        speed(results, view, &mut goals);
        parallel_starts(results, view, &mut goals);
        profile(results, view, &mut goals);
        sizes(results, view, &mut goals);
        others_present(results, view, &mut goals);
    }
    images(results, &mut goals);
    if results.keg_bytes > 0 {
        goals.push(at_most("size of the binary", results.keg_bytes as f64 / 1_048_576.0, 3.5, "MiB"));
    }
    let mut text = "\n## What keg sets out to show\n\nBy medians of all runs. In brackets where the median lies with a certainty of about \
                    95 %: a ratio's by the ratios of each round, a difference's by the pairs.\n\n\
                    | | wanted | measured | |\n|---|---:|---:|---|\n"
        .to_owned();
    for goal in &goals {
        let verdict = if goal.met { "✓" } else { "✗ missed" };
        text += &format!("| {} | {} | {} | {verdict} |\n", goal.what, goal.wanted, goal.measured);
    }
    let met = goals.iter().filter(|goal| goal.met).count();
    text + &format!("\n{met} of {} are met.\n", goals.len())
}

fn at_least(what: impl Into<String>, measured: Ratio, wanted: f64) -> Goal {
    let (what, met) = (what.into(), measured.median >= wanted);
    let range = between(measured.interval);
    Goal {
        what, wanted: format!("≥ {wanted}×"), measured: format!("{:.2}×{range}", measured.median), met
    }
}

/// Where the median lies, in brackets.
fn between(interval: Option<[f64; 2]>) -> String {
    interval.map_or(String::new(), |[low, high]| format!(" ({low:.2}–{high:.2})"))
}

/// Of medians alone.
fn plain(median: f64) -> Ratio {
    Ratio { median, interval: None }
}

fn at_most(what: impl Into<String>, measured: f64, wanted: f64, unit: &str) -> Goal {
    let (what, met) = (what.into(), measured <= wanted);
    let number = |value: f64| match unit {
        "×" => format!("{value:.2}×"),
        "MiB" | "ms" => format!("{value:.2} {unit}"),
        _ => format!("{} {unit}", shown(value, unit)),
    };
    let wanted = if unit == "×" { format!("≤ {wanted}×") } else { format!("≤ {}", number(wanted)) };
    Goal { what, wanted, measured: number(measured), met }
}

fn speed(results: &Results, view: &str, goals: &mut Vec<Goal>) {
    let rows = [
        ("start", start::RUN, [("crun", 2.2), ("youki", 5.0), ("runc", 5.5)].as_slice()),
        ("start", start::PODMAN, &[("crun", 7.0), ("runc", 10.0)]),
        ("exec", "exec", &[("crun", 2.5), ("youki", 5.0), ("runc", 7.5)]),
    ];
    for (part, workload, peers) in rows {
        for (peer, wanted) in peers {
            if let Some(ratio) = results.ratio(part, view, (workload, *peer), (workload, "keg")) {
                goals.push(at_least(format!("{workload}: faster than {peer} ({view})"), ratio, *wanted));
            }
        }
    }
    let median = |part: &str, workload: &str, subject: &str| results.median(part, view, workload, subject);
    if let Some(ratio) = results.ratio("start", view, (start::RUN, "keg"), (start::RUN, "floor")) {
        let goal = at_most(format!("run: beside the floor ({view})"), ratio.median, 1.6, "×");
        goals.push(goal.between(ratio.interval));
    }
    if let (Some(crun), Some(keg)) = (median("cold", start::COLD, "crun"), median("cold", start::COLD, "keg"))
    {
        goals.push(at_most(
            format!("run with nothing in memory: beside crun ({view})"),
            keg / crun,
            1.0,
            "×",
        ));
    }
}

fn parallel_starts(results: &Results, view: &str, goals: &mut Vec<Goal>) {
    let get = |workload: &str, subject: &str| results.summary("parallel", view, workload, subject);
    if let (Some(crun), Some(keg)) = (get(parallel::THROUGHPUT, "crun"), get(parallel::THROUGHPUT, "keg")) {
        goals.push(at_least(
            format!("64 at once: more a second than crun ({view})"),
            plain(keg.median / crun.median),
            1.5,
        ));
    }
    if let (Some(crun), Some(keg)) = (get(parallel::EACH, "crun"), get(parallel::EACH, "keg")) {
        goals.push(at_most(format!("64 at once: p99 beside crun's ({view})"), keg.p99 / crun.p99, 1.0, "×"));
    }
}

fn profile(results: &Results, view: &str, goals: &mut Vec<Goal>) {
    let row = results.row("start", view, (start::PODMANS_COST, "keg"));
    if let Some((value, row)) = row.and_then(|row| Some((row.value?, row))) {
        let goal = at_most(format!("{} ({view})", start::PODMANS_COST), value.median, 0.4, "ms");
        goals.push(goal.between(row.interval));
    }
}

fn sizes(results: &Results, view: &str, goals: &mut Vec<Goal>) {
    let median = |part: &str, workload: &str| results.median(part, view, workload, "keg");
    let executed = results.rows("calls").iter().find(|row| {
        row.view == view && row.workload == start::RUN && row.subject == "keg" && row.unit == "execve"
    });
    if let Some(calls) = median("calls", start::RUN) {
        goals.push(at_most(format!("system calls of run ({view})"), calls, 350.0, "calls"));
    }
    if let Some(executed) = executed.and_then(|row| row.value) {
        goals.push(at_most(format!("programs executed by run ({view})"), executed.median, 2.0, "execve"));
    }
    if let Some(peak) = median("memory", memory::PEAK_OF_RUN) {
        goals.push(at_most(format!("peak memory of run ({view})"), peak, 2048.0, "KiB"));
    }
    if let Some(limit) = median("memory", memory::LIMIT) {
        goals.push(at_most(format!("smallest memory limit that starts ({view})"), limit, 256.0, "KiB"));
    }
}

fn others_present(results: &Results, view: &str, goals: &mut Vec<Goal>) {
    for what in scale::AMONG {
        for operation in scale::OPERATIONS {
            let factor = |subject: &str| scale::factor(results, view, operation, what, subject);
            if let Some(kegs) = factor("keg") {
                let floors = factor("floor")
                    .map_or(String::new(), |floor| format!(", the floor {:.2}×", floor.median));
                let what = format!("{}: beside without ({view}{floors})", scale::name(operation, what.0));
                goals.push(at_most(what, kegs.median, 1.1, "×").between(kegs.interval));
            }
        }
    }
}

fn images(results: &Results, goals: &mut Vec<Goal>) {
    for (image, _) in IMAGES {
        let median = |subject: &str| results.median("unpack", "", image, subject);
        let Some(keg) = median("keg") else { continue };
        if image == "zstd" {
            if let Some(pipeline) = median("zstd|tar") {
                goals.push(at_most(format!("unpack {image}: beside zstd\\|tar"), keg / pipeline, 1.0, "×"));
            }
        } else {
            if let Some(umoci) = median("umoci") {
                goals.push(at_least(format!("unpack {image}: faster than umoci"), plain(umoci / keg), 5.0));
            }
            if let (Some(bsdtar), Some(pigz)) = (median("bsdtar"), median("pigz|tar")) {
                let fastest = bsdtar.min(pigz);
                goals.push(at_least(
                    format!("unpack {image}: faster than bsdtar and pigz\\|tar"),
                    plain(fastest / keg),
                    1.8,
                ));
            }
        }
        let peak = results.summary("unpack", "", &format!("{image}: {}", unpack::PEAK), "keg");
        if let Some(peak) = peak {
            goals.push(at_most(format!("unpack {image}: peak memory"), peak.p99 / 1024.0, 128.0, "MiB"));
        }
    }
}

/// Every row in which somebody else does better, whatever it is.
pub fn losses(results: &Results) -> String {
    let mut text = String::new();
    for (name, part) in &results.parts {
        for row in &part.rows {
            let is_peer = row.subject != "keg" && row.subject != "floor" && !row.subject.contains("alone");
            let keg = part.rows.iter().find(|keg| {
                keg.subject == "keg"
                    && keg.view == row.view
                    && keg.workload == row.workload
                    && keg.unit == row.unit
            });
            let (Some(peer), Some(keg), true) = (row.value, keg.and_then(|keg| keg.value), is_peer) else {
                continue;
            };
            let ratio = super::tables::ratio(peer.median, keg.median, &row.unit);
            if ratio < 1.0 && row.unit != "MB" {
                let [theirs, ours] = [peer.median, keg.median].map(|value| shown(value, &row.unit));
                let view = if row.view.is_empty() { String::new() } else { format!(", {}", row.view) };
                let subject = row.subject.replace('|', "\\|");
                text += &format!(
                    "| {name}{view} | {} | {subject} | {theirs} | {ours} | {} |\n",
                    row.workload, row.unit
                );
            }
        }
    }
    match text.is_empty() {
        true => "\n## Where keg is behind\n\nIn no row of this page.\n".to_owned(),
        false => format!(
            "\n## Where keg is behind\n\n| part | | who is ahead | theirs | keg's | unit |\n|---|---|---|---:|---:|---|\n{text}"
        ),
    }
}
