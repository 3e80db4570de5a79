//! How far an unpacking is, on stderr: bars on a terminal, a line for each layer elsewhere, JSON for programs, or nothing.

use std::io::{self, IsTerminal, Write};

use crate::image::{LayerProgress, Progress};

/// `--progress`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Bars on a terminal, else lines.
    #[default]
    Auto,
    /// A line for each layer that is done.
    Plain,
    /// A JSON object a line.
    Json,
    /// Nothing.
    None,
}

impl Style {
    /// Reads the value of `--progress`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "plain" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            "none" => Ok(Self::None),
            _ => Err("none of auto, plain, json and none".to_owned()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Bars,
    Plain,
    Json,
    None,
}

/// Shows one unpacking.
#[derive(Debug)]
pub struct Display {
    look: Look,
    /// How many layers have been told to be done.
    told: usize,
    /// What has been read when it was told last.
    last: u64,
    /// Lines of bars on the terminal that will be written over.
    lines: usize,
}

impl Display {
    /// In the style that was asked for.
    pub fn new(style: Style) -> Self {
        let is_terminal =
            || io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let look = match style {
            Style::Auto if is_terminal() => Look::Bars,
            Style::Auto | Style::Plain => Look::Plain,
            Style::Json => Look::Json,
            Style::None => Look::None,
        };
        Self { look, told: 0, last: 0, lines: 0 }
    }

    /// As [`Self::new`], but silent unless somebody sits there or has asked: for commands whose stderr is the container's.
    pub fn discreet(style: Style) -> Self {
        let display = Self::new(style);
        if style == Style::Auto && display.look == Look::Plain {
            Self { look: Look::None, ..display }
        } else {
            display
        }
    }

    /// Shows what has changed. Where stderr is gone nobody looks.
    pub fn show(&mut self, progress: &Progress) {
        let text = self.text(progress);
        if !text.is_empty() {
            io::stderr().write_all(text.as_bytes()).unwrap_or(());
        }
    }

    fn text(&mut self, progress: &Progress) -> String {
        let layers = &progress.layers;
        let of = layers.len();
        let done = layers.iter().take_while(|layer| layer.is_applied()).count();
        let fresh = layers.iter().enumerate().take(done).skip(self.told);
        let mut text = String::new();
        match self.look {
            Look::None => {}
            Look::Plain => fresh.for_each(|(at, layer)| text.push_str(&finished(at + 1, of, layer))),
            Look::Json => {
                let read = layers.iter().map(LayerProgress::done).sum();
                if read != self.last || done != self.told {
                    self.last = read;
                    text = json(progress, done);
                }
            }
            Look::Bars => {
                if self.lines > 0 {
                    text.push_str(&format!("\x1b[{}F\x1b[J", self.lines));
                }
                fresh.for_each(|(at, layer)| text.push_str(&finished(at + 1, of, layer)));
                let bars = if done < of { bars(progress, done) } else { Vec::new() };
                self.lines = bars.len();
                // Lines that are too long for the terminal are cut, not wrapped.
                text.push_str(&format!("\x1b[?7l{}\x1b[?7h", bars.concat()));
            }
        }
        self.told = done;
        text
    }

    /// Takes away what is not to stay, after an error too.
    pub fn end(&mut self) {
        if self.lines > 0 {
            io::stderr().write_all(format!("\x1b[{}F\x1b[J", self.lines).as_bytes()).unwrap_or(());
            self.lines = 0;
        }
    }
}

fn short(layer: &LayerProgress) -> &str {
    layer.digest.hex().get(..12).unwrap_or_default()
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn finished(number: usize, of: usize, layer: &LayerProgress) -> String {
    format!("layer {number}/{of} {} {:.1} MB\n", short(layer), megabytes(layer.size))
}

/// The layers that are being read or written, and all together.
fn bars(progress: &Progress, done: usize) -> Vec<String> {
    let layers = &progress.layers;
    let mut lines: Vec<String> = (layers.iter().enumerate().skip(done))
        .take_while(|(at, layer)| *at == done || layer.done() > 0)
        .map(|(at, layer)| {
            bar(&format!("layer {}/{} {}", at + 1, layers.len(), short(layer)), layer.done(), layer.size)
        })
        .collect();
    let (read, all) =
        (layers.iter().map(LayerProgress::done).sum(), layers.iter().map(|layer| layer.size).sum());
    lines.push(bar(&format!("all, {} entries", progress.entries()), read, all));
    lines
}

fn bar(what: &str, done: u64, of: u64) -> String {
    const WIDTH: usize = 24;
    let part = if of == 0 { 1.0 } else { done as f64 / of as f64 };
    let full = ((part * WIDTH as f64) as usize).min(WIDTH);
    let (full, empty) = ("#".repeat(full), "-".repeat(WIDTH - full));
    format!("{what:<28} [{full}{empty}] {:>3.0}% of {:.1} MB\n", part * 100.0, megabytes(of))
}

fn json(progress: &Progress, applied: usize) -> String {
    let layers: Vec<_> = (progress.layers.iter())
        .map(|layer| {
            serde_json::json!({"digest": layer.digest.to_string(), "size": layer.size, "read": layer.done(),
                               "applied": layer.is_applied()})
        })
        .collect();
    let line = serde_json::json!({"applied": applied, "entries": progress.entries(), "layers": layers});
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::{Display, Look, bar};
    use crate::image::Progress;
    use crate::types::Digest;

    fn progress() -> Progress {
        let digest = |byte: &str| Digest::parse(&format!("sha256:{}", byte.repeat(32))).unwrap();
        Progress::new([(digest("ab"), 2_000_000), (digest("cd"), 0)])
    }

    fn text(look: Look) -> (Display, String) {
        let mut display = Display { look, told: 0, last: 7, lines: 0 };
        let text = display.text(&progress());
        (display, text)
    }

    #[test]
    fn bars_are_as_long_as_what_is_done() {
        assert_eq!(bar("all", 0, 1_000_000), format!("{:<28} [{}]   0% of 1.0 MB\n", "all", "-".repeat(24)));
        assert_eq!(
            bar("all", 1, 2),
            format!("{:<28} [{}{}]  50% of 0.0 MB\n", "all", "#".repeat(12), "-".repeat(12))
        );
        assert!(bar("all", 0, 0).contains("100%"));
    }

    #[test]
    fn each_look_shows_what_it_is_for() {
        assert_eq!(text(Look::None).1, "");
        assert_eq!(text(Look::Plain).1, "");
        let json: serde_json::Value = serde_json::from_str(&text(Look::Json).1).unwrap();
        assert_eq!(json["layers"][0]["size"], 2_000_000);
        let (mut display, first) = text(Look::Bars);
        assert_eq!(display.lines, 2);
        assert!(first.contains("layer 1/2 abababababab") && first.contains("all, 0 entries"), "{first}");
        assert!(display.text(&progress()).starts_with("\x1b[2F\x1b[J"));
    }
}
