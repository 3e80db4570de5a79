//! Bar charts as SVG: small panels, each with a scale of its own that begins at nothing, keg in colour and everybody else in grey.

use std::fmt::Write;

/// One bar and what stands beside it.
#[derive(Debug, Clone)]
pub struct Bar {
    pub label: String,
    pub value: f64,
    pub text: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Keg,
    Peer,
    /// What nobody can be faster than.
    Limit,
}

#[derive(Debug, Clone)]
pub struct Panel {
    pub title: String,
    pub bars: Vec<Bar>,
}

const COLUMN: f64 = 440.0;
const MARGIN: f64 = 24.0;
const ROW: f64 = 24.0;
const FONT: &str =
    "font-family=\"system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif\"";

/// A chart of two columns of panels.
pub fn chart(title: &str, subtitle: &str, panels: &[Panel]) -> String {
    let columns = panels.len().min(2);
    let width = COLUMN * columns as f64 + MARGIN;
    let mut body = String::new();
    let mut top = 76.0;
    for row in panels.chunks(2) {
        for (column, panel) in row.iter().enumerate() {
            body += &draw(panel, MARGIN + COLUMN * column as f64, top);
        }
        top += row.iter().map(height).fold(0.0, f64::max);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{top}\" viewBox=\"0 0 {width} {top}\" {FONT}>\n\
         <title>{0}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"34\" font-size=\"18\" font-weight=\"600\" fill=\"#1f2328\">{0}</text>\n\
         <text x=\"{MARGIN}\" y=\"54\" font-size=\"12\" fill=\"#656d76\">{1}</text>\n{body}</svg>\n",
        escaped(title),
        escaped(subtitle),
    )
}

fn height(panel: &Panel) -> f64 {
    44.0 + ROW * panel.bars.len() as f64
}

fn draw(panel: &Panel, left: f64, top: f64) -> String {
    let longest = panel.bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or_default() as f64;
    let labels = (longest * 6.6 + 10.0).max(48.0);
    let texts =
        panel.bars.iter().map(|bar| bar.text.chars().count()).max().unwrap_or_default() as f64 * 6.6 + 10.0;
    let room = COLUMN - MARGIN - labels - texts;
    let most = panel.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = String::new();
    let mut line = |text: String| svg.write_fmt(format_args!("{text}\n")).unwrap_or_default();
    line(format!(
        "<text x=\"{left}\" y=\"{:.1}\" font-size=\"13\" font-weight=\"600\" fill=\"#1f2328\">{}</text>",
        top + 14.0,
        escaped(&panel.title)
    ));
    for (number, bar) in panel.bars.iter().enumerate() {
        let y = top + 24.0 + ROW * number as f64;
        let (from, length) = (left + labels, (bar.value / most * room).max(1.5));
        let (fill, weight, ink) = match bar.kind {
            Kind::Keg => ("#d9480f", 600, "#1f2328"),
            Kind::Peer => ("#9aa7b4", 400, "#424a53"),
            Kind::Limit => ("#dfe4ea", 400, "#6e7781"),
        };
        line(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" font-weight=\"{weight}\" fill=\"{ink}\" text-anchor=\"end\">{}</text>",
            from - 8.0,
            y + 13.0,
            escaped(&bar.label)
        ));
        line(format!(
            "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"17\" rx=\"2\" fill=\"{fill}\"/>"
        ));
        line(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" font-weight=\"{weight}\" fill=\"{ink}\">{}</text>",
            from + length + 6.0,
            y + 13.0,
            escaped(&bar.text)
        ));
    }
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
