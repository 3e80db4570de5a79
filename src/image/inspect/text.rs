//! The tree of a layout for people: one thing a line, what belongs to it below it.

use std::fmt;

use super::{Config, Inspection, Kind, Node, Part};
use crate::image::report::{bytes, shown};

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return writeln!(f, "the layout holds no image");
        }
        self.entries.iter().try_for_each(|node| line(f, node, 0))?;
        self.problem.iter().try_for_each(|problem| writeln!(f, "problem: {problem}"))
    }
}

fn line(f: &mut fmt::Formatter<'_>, node: &Node, depth: usize) -> fmt::Result {
    write!(f, "{:1$}", "", 2 * depth)?;
    if let Some(name) = &node.name {
        write!(f, "{}: ", shown(name))?;
    }
    let of = node.platform.as_ref().map(|platform| format!(" for {}", shown(platform))).unwrap_or_default();
    match node.kind {
        Kind::Index => write!(f, "index of {}", node.manifests.len())?,
        Kind::Image => write!(f, "image{of}")?,
        Kind::Artifact => write!(f, "{}", shown(node.artifact.as_deref().unwrap_or("an artifact")))?,
        Kind::Unreadable => write!(f, "not readable{of}")?,
    }
    writeln!(f, " {}", shown(&node.digest))?;
    let below = 2 * depth + 2;
    if let Some(problem) = &node.problem {
        writeln!(f, "{:below$}problem: {}", "", shown(problem))?;
    }
    if node.kind == Kind::Image && !node.layers.is_empty() {
        let size = node.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
        let layers = if node.layers.len() == 1 { "layer" } else { "layers" };
        writeln!(f, "{:below$}size {} in {} {layers}", "", bytes(size), node.layers.len())?;
    }
    if let Some(config) = &node.config {
        about(f, config, below)?;
    }
    if node.kind == Kind::Artifact && node.subject.is_some() && depth == 0 {
        writeln!(
            f,
            "{:below$}about {}, which is not here",
            "",
            shown(node.subject.as_deref().unwrap_or(""))
        )?;
    }
    for (number, part) in node.layers.iter().enumerate() {
        layer(f, part, number + 1, node.kind, below)?;
    }
    node.manifests.iter().try_for_each(|node| line(f, node, depth + 1))?;
    if !node.referrers.is_empty() {
        writeln!(f, "{:below$}referred to by:", "")?;
    }
    node.referrers.iter().try_for_each(|node| line(f, node, depth + 2))
}

fn about(f: &mut fmt::Formatter<'_>, config: &Config, below: usize) -> fmt::Result {
    let ports = config.exposed_ports.join(", ");
    let volumes = config.volumes.join(", ");
    let command =
        config.entrypoint.iter().chain(&config.cmd).map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let rows = [
        ("created", config.created.as_deref().unwrap_or("")),
        ("author", config.author.as_deref().unwrap_or("")),
        ("runs", &command),
        ("in", &config.working_dir),
        ("as", &config.user),
        ("stopped by", &config.stop_signal),
        ("ports", &ports),
        ("volumes", &volumes),
    ];
    for (what, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(f, "{:below$}{what} {}", "", shown(value))?;
    }
    config.env.iter().try_for_each(|variable| writeln!(f, "{:below$}env {}", "", shown(variable)))?;
    let mut labels = config.labels.iter();
    labels.try_for_each(|(key, value)| writeln!(f, "{:below$}label {}={}", "", shown(key), shown(value)))
}

fn layer(f: &mut fmt::Formatter<'_>, part: &Part, number: usize, kind: Kind, below: usize) -> fmt::Result {
    let what = if kind == Kind::Image { "layer" } else { "part" };
    let digest = shown(&part.digest);
    let media_type = shown(&part.media_type);
    writeln!(f, "{:below$}{what} {number}: {digest} {}, {media_type}", "", bytes(part.size))?;
    for text in [&part.created_by, &part.comment].into_iter().flatten().filter(|text| !text.is_empty()) {
        writeln!(f, "{:below$}  {}", "", shown(text))?;
    }
    Ok(())
}

/// A word of a command, with quotes where it would not be one word without.
fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || "-_./=:,@%+".contains(char);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("{word:?}") }
}
