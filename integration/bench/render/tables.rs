//! Tables of rows, in the document and on the terminal.

use crate::pairs;
use crate::parts::start::{DOCKER, PODMAN, RUN};
use crate::parts::tools::IMAGES;
use crate::parts::unpack::{CPU, PACKED, PEAK, UNPACKED};
use crate::results::{Ratio, Results, Row};
use crate::views::VIEWS;

/// A number as a reader wants it.
pub fn shown(value: f64, unit: &str) -> String {
    match unit {
        "KiB" | "calls" | "execve" | "MB" | "starts/s" => thousands(value),
        _ if value < 9.995 => format!("{value:.2}"),
        _ if value < 99.95 => format!("{value:.1}"),
        _ => thousands(value),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (number, digit) in digits.chars().enumerate() {
        if number > 0 && (digits.len() - number).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// keg's row of the same workload.
fn keg<'a>(rows: &[&'a Row], of: &Row) -> Option<&'a Row> {
    rows.iter()
        .copied()
        .find(|row| row.subject == "keg" && row.workload == of.workload && row.unit == of.unit)
}

/// How many times worse than keg: for a rate, less is worse.
pub fn ratio(value: f64, kegs: f64, unit: &str) -> f64 {
    if unit == "starts/s" { kegs / value } else { value / kegs }
}

/// What there is to say of rows, as a list.
fn notes(rows: &[&Row]) -> String {
    let noted = rows.iter().filter(|row| !row.note.is_empty());
    let lines = noted.map(|row| {
        let what = if row.workload == "any" { "left out" } else { &row.workload };
        format!("- {}, {what}: `{}`\n", row.subject, row.note.replace('`', "'"))
    });
    let text: String = lines.collect();
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// A name in a cell: keg stands out, and a pipeline's bar ends no cell.
fn cell(subject: &str) -> String {
    if subject == "keg" { "**keg**".to_owned() } else { subject.replace('|', "\\|") }
}

/// One line for each workload, the subjects beside each other: for what is counted and not timed.
pub fn beside(rows: &[&Row]) -> String {
    let (mut subjects, mut workloads) = (Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| row.value.is_some()) {
        if !subjects.contains(&&row.subject) {
            subjects.push(&row.subject);
        }
        if !workloads.contains(&(&row.workload, &row.unit)) {
            workloads.push((&row.workload, &row.unit));
        }
    }
    let names: String = subjects.iter().map(|name| format!(" {} |", cell(name))).collect();
    let mut text = format!("| | unit |{names}\n|---|---|{}\n", "---:|".repeat(subjects.len()));
    for (workload, unit) in workloads {
        text += &format!("| {workload} | {unit} |");
        for subject in &subjects {
            let is_it =
                |row: &&&Row| row.subject == **subject && row.workload == *workload && row.unit == *unit;
            let value = rows.iter().find(is_it).and_then(|row| row.value);
            text += &value.map_or(" – |".to_owned(), |value| format!(" {} |", shown(value.median, unit)));
        }
        text += "\n";
    }
    text + &notes(rows) + "\n"
}

/// A table for each image: time, CPU and memory of each tool beside each other.
pub fn images(rows: &[&Row]) -> String {
    let mut text = String::new();
    for (image, what) in IMAGES {
        let of = |workload: &str, subject: &str| {
            rows.iter()
                .find(|row| row.workload == workload && row.subject == subject)
                .and_then(|row| row.value)
        };
        let Some(keg) = of(image, "keg") else { continue };
        let size = |what: &str| of(image, what).map_or(String::new(), |size| shown(size.median, "MB"));
        text += &format!("### {image}: {what}, {} MB, {} MB unpacked\n\n", size(PACKED), size(UNPACKED));
        text += "| | median, s | minimum, s | ÷ keg's | CPU, s | largest process, MiB | runs |\n|---|---:|---:|---:|---:|---:|---:|\n";
        for row in rows.iter().filter(|row| row.workload == image && row.unit == "s") {
            let Some(value) = row.value else { continue };
            let also =
                |what: &str| of(&format!("{image}: {what}"), &row.subject).map_or(0.0, |value| value.median);
            let [median, minimum, cpu] =
                [value.median, value.minimum, also(CPU)].map(|number| shown(number, "s"));
            let (ratio, peak) = (value.median / keg.median, also(PEAK) / 1024.0);
            let name = cell(&row.subject);
            text += &format!(
                "| {name} | {median} | {minimum} | {ratio:.2} | {cpu} | {peak:.1} | {} |\n",
                value.runs
            );
        }
        let own: Vec<&Row> = rows.iter().copied().filter(|row| row.workload == image).collect();
        text += &format!("{}\n", notes(&own));
    }
    text
}

/// All rows of one part in one view, and below what is to be said of them.
pub fn table(rows: &[&Row]) -> String {
    let (rows, pairs): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.unit != pairs::UNIT);
    let rows = rows.as_slice();
    let mut text =
        "| | | unit | median | minimum | p99 | median ÷ keg's | by rounds | minimum ÷ keg's | runs |\n"
            .to_owned();
    text += "|---|---|---|---:|---:|---:|---:|---:|---:|---:|\n";
    let mut last = "";
    for row in rows {
        let Some(value) = row.value else { continue };
        let workload = if row.workload == last { "" } else { &row.workload };
        last = &row.workload;
        let ratios = keg(rows, row).and_then(|keg| keg.value).filter(|keg| keg.median > 0.0).map(|keg| {
            let at = |own: f64, kegs: f64| format!("{:.2}", ratio(own, kegs, &row.unit));
            (at(value.median, keg.median), at(value.minimum, keg.minimum))
        });
        let (median_ratio, minimum_ratio) = ratios.unwrap_or_default();
        let by_rounds =
            keg(rows, row).filter(|keg| keg.subject != row.subject).and_then(|keg| Ratio::of(row, keg));
        let by_rounds = by_rounds.and_then(|ratio| ratio.interval);
        let by_rounds = by_rounds.map_or(String::new(), |[low, high]| format!("{low:.2}–{high:.2}"));
        let [median, minimum, p99] =
            [value.median, value.minimum, value.p99].map(|number| shown(number, &row.unit));
        let subject = cell(&row.subject);
        text += &format!(
            "| {workload} | {subject} | {} | {median} | {minimum} | {p99} | {median_ratio} | {by_rounds} | {minimum_ratio} | {} |\n",
            row.unit, value.runs
        );
    }
    text + &notes(rows) + "\n" + &differences(&pairs)
}

/// What was measured in pairs.
fn differences(rows: &[&Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "| | | median, ms | 95 % interval, ms | pairs |\n|---|---|---:|---:|---:|\n".to_owned();
    let mut last = "";
    for row in rows {
        let (Some(value), Some([low, high])) = (row.value, row.interval) else { continue };
        let workload = if row.workload == last { "" } else { &row.workload };
        last = &row.workload;
        let [median, low, high] = [value.median, low, high].map(|number| shown(number, &row.unit));
        text += &format!(
            "| {workload} | {} | {median} | {low} – {high} | {} |\n",
            cell(&row.subject),
            value.runs
        );
    }
    text + &notes(rows) + "\n"
}

/// What is read first: how many times longer the peers take.
pub fn glance(results: &Results) -> String {
    let mut text =
        "\n## At a glance\n\n![Starting and working with a container](benchmarks/start-v1.svg)\n\n"
            .to_owned();
    text += "How many times longer than keg the others take, by medians.\n\n| | keg, ms |";
    let columns: Vec<_> =
        VIEWS.iter().flat_map(|view| ["crun", "youki", "runc"].map(|name| (view, name))).collect();
    let measured: Vec<_> = columns
        .into_iter()
        .filter(|(view, name)| results.median("start", view.name, RUN, name).is_some())
        .collect();
    for (view, name) in &measured {
        text += &format!(" {name}, {} |", view.name);
    }
    text += &format!("\n|---|---:|{}\n", "---:|".repeat(measured.len()));
    let rows = [
        ("start", RUN),
        ("start", "create, start, delete"),
        ("start", DOCKER),
        ("start", PODMAN),
        ("exec", "exec"),
        ("exec", "state"),
        ("exec", "kill, delete"),
    ];
    for (part, workload) in rows {
        let median = |view: &str, subject: &str| results.median(part, view, workload, subject);
        let of_keg = median("v1", "keg").map_or(String::new(), |value| shown(value, "ms"));
        let ratio = |view: &str, name: &str| Some(median(view, name)? / median(view, "keg")?);
        text += &format!("| {workload} | {of_keg} |");
        for (view, name) in &measured {
            text += &ratio(view.name, name).map_or(" |".to_owned(), |ratio| format!(" {ratio:.1}× |"));
        }
        text += "\n";
    }
    text + "\nv1 and v2 are the views of the cgroups; keg's own times are those of v1.\n"
}

/// The short form, for a terminal.
#[allow(clippy::print_stdout, reason = "it is what was asked for")]
pub fn print(rows: &[Row]) {
    let all: Vec<&Row> = rows.iter().collect();
    for row in rows {
        match (row.value, keg(&all, row).and_then(|keg| keg.value)) {
            (Some(value), Some(keg)) => println!(
                "  {:22} {:6} median {:7.2}  minimum {:7.2}  p99 {:7.2}   {:5.2}x  {:5.2}x",
                row.workload,
                row.subject,
                value.median,
                value.minimum,
                value.p99,
                value.median / keg.median,
                value.minimum / keg.minimum,
            ),
            _ => println!("  {:22} {:6} left out: {}", row.workload, row.subject, row.note),
        }
    }
}
