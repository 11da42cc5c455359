//! The growth chart: memory and processor time over the size of the cluster, ours and the peer's.

use std::fmt::Write;

/// One line of a chart: a name, a colour, and its points.
pub struct Line {
    /// For the legend.
    pub name: &'static str,
    /// An SVG colour.
    pub colour: &'static str,
    /// Size in percent of the full cluster, and the value there.
    pub points: Vec<(f64, f64)>,
}

/// Width and height of one panel.
const PANEL: (f64, f64) = (360.0, 240.0);
/// Room around it for labels.
const MARGIN: (f64, f64) = (60.0, 40.0);

/// Two panels beside each other.
pub fn svg(memory: &[Line], processor: &[Line]) -> String {
    let width = 2.0 * (PANEL.0 + 2.0 * MARGIN.0);
    let height = PANEL.1 + 2.0 * MARGIN.1 + 20.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    panel(&mut text, 0.0, "resident memory in MiB", memory);
    panel(
        &mut text,
        PANEL.0 + 2.0 * MARGIN.0,
        "processor time to read the cluster in s",
        processor,
    );
    text.push_str("</svg>\n");
    text
}

fn panel(text: &mut String, left: f64, title: &str, lines: &[Line]) {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let widest = points().map(|(x, _)| x).fold(1.0, f64::max);
    let highest = points().map(|(_, y)| y).fold(f64::MIN_POSITIVE, f64::max) * 1.05;
    let (x0, y0) = (left + MARGIN.0, MARGIN.1 + PANEL.1);
    let x = |value: f64| x0 + value / widest * PANEL.0;
    let y = |value: f64| y0 - value / highest * PANEL.1;
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "<text x=\"{x0}\" y=\"{}\" font-weight=\"bold\">{title}</text>\n\
         <path d=\"M{x0} {MARGIN_TOP}V{y0}H{}\" fill=\"none\" stroke=\"black\"/>",
        MARGIN.1 - 12.0,
        x0 + PANEL.0,
        MARGIN_TOP = MARGIN.1,
    );
    for quarter in 1..=4 {
        let value = highest / 1.05 * f64::from(quarter) / 4.0;
        let _ = writeln!(
            text,
            "<path d=\"M{x0} {0}h{PANEL_WIDTH}\" stroke=\"#ddd\"/>\
             <text x=\"{1}\" y=\"{2}\" text-anchor=\"end\">{value:.3$}</text>",
            y(value),
            x0 - 6.0,
            y(value) + 4.0,
            usize::from(highest < 10.0) * 2,
            PANEL_WIDTH = PANEL.0,
        );
    }
    for (size, _) in lines.first().map(|line| line.points.clone()).unwrap_or_default() {
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{size:.0} %</text>",
            x(size),
            y0 + 16.0
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let path: Vec<String> = line
            .points
            .iter()
            .map(|(size, value)| format!("{:.1},{:.1}", x(*size), y(*value)))
            .collect();
        let legend = MARGIN.1 + 14.0 + 16.0 * number as f64;
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{1}\" stroke-width=\"2\"/>\
             <text x=\"{2}\" y=\"{legend}\" fill=\"{1}\">{3}</text>",
            path.join(" "),
            line.colour,
            x0 + 12.0,
            line.name
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">of 1,000 nodes, 10,000 pods, 2,000 services</text>",
        x0 + PANEL.0 / 2.0,
        y0 + 34.0
    );
}
