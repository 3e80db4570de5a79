//! Which plots a part has, and what they show.

use crate::parts::tools::IMAGES;
use crate::parts::{Part, memory, parallel, scale, start};
use crate::results::{Results, Row};
use crate::views::VIEWS;

use super::plot::{Bar, Kind, Panel, chart};
use super::tables::{ratio, shown};

/// A file's name, what it shows, its text.
type Figure = (String, String, String);

pub fn of(part: Part, results: &Results) -> Vec<Figure> {
    match part {
        Part::Start => VIEWS.iter().filter_map(|view| overview(results, view.name, view.title)).collect(),
        Part::Exec => Vec::new(),
        Part::Parallel => {
            per_view(part, results, "64 starts at once", &[parallel::THROUGHPUT, parallel::EACH])
        }
        Part::Cold => per_view(part, results, "Nothing in memory", &[start::COLD]),
        Part::Memory => per_view(
            part,
            results,
            "Memory",
            &[memory::PEAK_OF_RUN, "peak of exec", memory::INIT, memory::LIMIT],
        ),
        Part::Calls => per_view(part, results, "System calls", &["run", "exec"]),
        Part::Scale => VIEWS.iter().filter_map(|view| among(results, view.name, view.title)).collect(),
        Part::Unpack => unpacking(results).into_iter().collect(),
    }
}

/// The bars of one workload: value, unit, and how many times keg's.
fn panel<'a>(title: &str, rows: impl Iterator<Item = &'a Row>) -> Option<Panel> {
    let rows: Vec<&Row> = rows.filter(|row| row.unit != "execve").collect();
    let keg = rows.iter().find(|row| row.subject == "keg")?.value?;
    let bar = |row: &&Row| {
        let value = row.value?;
        let kind = match row.subject.as_str() {
            "keg" => Kind::Keg,
            name if name == "floor" || name.contains("alone") => Kind::Limit,
            _ => Kind::Peer,
        };
        let (number, ratio) = (shown(value.median, &row.unit), ratio(value.median, keg.median, &row.unit));
        let mut text = format!("{number} {}", row.unit);
        if kind == Kind::Peer {
            text += &format!("  ({ratio:.1}×)");
        }
        Some(Bar { label: row.subject.clone(), value: value.median, text, kind })
    };
    Some(Panel { title: title.to_owned(), bars: rows.iter().filter_map(bar).collect() })
}

fn panel_of(results: &Results, part: &str, view: &str, workload: &str) -> Option<Panel> {
    panel(workload, results.rows(part).iter().filter(|row| row.view == view && row.workload == workload))
}

const LESS: &str = "Medians; shorter is better; in brackets: how many times keg's";

fn overview(results: &Results, view: &str, title: &str) -> Option<Figure> {
    let workloads = [
        ("start", start::RUN),
        ("exec", "exec"),
        ("start", start::DOCKER),
        ("start", start::PODMAN),
        ("start", "create, start, delete"),
        ("exec", "kill, delete"),
        ("start", "run, user namespace"),
        ("exec", "state"),
    ];
    let panels: Vec<Panel> =
        workloads.iter().filter_map(|(part, name)| panel_of(results, part, view, name)).collect();
    let heading = format!("Starting and working with a container, cgroups of {title}");
    (!panels.is_empty()).then(|| (format!("start-{view}"), heading.clone(), chart(&heading, LESS, &panels)))
}

fn per_view(part: Part, results: &Results, title: &str, workloads: &[&str]) -> Vec<Figure> {
    let one = |view: &crate::views::View| {
        let panels: Vec<Panel> = workloads
            .iter()
            .filter_map(|workload| panel_of(results, part.name(), view.name, workload))
            .collect();
        let heading = format!("{title}, cgroups of {}", view.title);
        let hint = match part {
            Part::Parallel => {
                "Medians; many a second are better, short ones are better; in brackets: how many times better keg is"
            }
            _ => LESS,
        };
        let name = format!("{}-{}", part.name(), view.name);
        (!panels.is_empty()).then(|| (name, heading.clone(), chart(&heading, hint, &panels)))
    };
    VIEWS.iter().filter_map(one).collect()
}

/// How much longer each runtime takes where others are present, beside itself without them.
fn among(results: &Results, view: &str, title: &str) -> Option<Figure> {
    let mut panels = Vec::new();
    for what in scale::AMONG {
        for operation in scale::OPERATIONS {
            let bar = |subject: &str| {
                let value = scale::factor(results, view, operation, what, subject)?.median;
                let kind = match subject {
                    "keg" => Kind::Keg,
                    "floor" => Kind::Limit,
                    _ => Kind::Peer,
                };
                Some(Bar { label: subject.to_owned(), value, text: format!("{value:.2}×"), kind })
            };
            let subjects = ["keg", "crun", "youki", "runc", "floor"];
            let bars: Vec<Bar> = subjects.into_iter().filter_map(bar).collect();
            if !bars.is_empty() {
                panels.push(Panel { title: scale::name(operation, what.0), bars });
            }
        }
    }
    let heading = format!("With 1,000 others, cgroups of {title}");
    let hint = "How many times as long as without them, each beside itself; 1.00× is best";
    (!panels.is_empty()).then(|| (format!("scale-{view}"), heading.clone(), chart(&heading, hint, &panels)))
}

fn unpacking(results: &Results) -> Option<Figure> {
    let one = |(image, what): (&str, &str)| {
        let rows = results.rows("unpack").iter().filter(|row| row.workload == image && row.unit == "s");
        panel(&format!("{image}: {what}"), rows)
    };
    let panels: Vec<Panel> = IMAGES.into_iter().filter_map(one).collect();
    let heading = "Unpacking images into memory".to_owned();
    (!panels.is_empty()).then(|| ("unpack".to_owned(), heading.clone(), chart(&heading, LESS, &panels)))
}
