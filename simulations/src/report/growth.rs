//! What grows with the number of nodes: a table, and plots in one SVG that stands alone.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::svg::short;
use super::words::number;
use crate::record::{RunRecord, meeting_bytes};
use crate::system::Gauges;

/// One cluster's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Size {
    /// How many nodes.
    pub nodes: u64,
    /// Links that stand at the end.
    pub links: u64,
    /// Seconds until the cluster was up.
    pub up_after_s: f64,
    /// Seconds until all held the same, after the users had gone; `None` when they never did.
    pub same_after_s: Option<f64>,
    /// Bytes a second that a node sends while nothing is written.
    pub idle_bytes_per_node_s: f64,
    /// Bytes on all links for one write, idle traffic and meetings aside, shared out among the nodes.
    pub write_bytes_per_node: f64,
    /// Bytes that a node sent to get to know the others and what they hold: when it came up, and after the partition.
    pub meeting_bytes_per_node: f64,
    /// Bytes of content and log on the node that ever held the most.
    pub held_bytes_per_node: u64,
    /// Replica ids in the largest clock.
    pub clock_entries: u64,
    /// Real seconds that the run took.
    pub real_s: f64,
    /// The most memory that the simulator ever had, shared out among the nodes: a bound for what one takes. `None`
    /// where the system does not tell.
    pub resident_bytes_per_node: Option<u64>,
}

impl Size {
    /// The figures of a run, with the real seconds and the resident bytes that it took.
    #[must_use]
    pub fn of(record: &RunRecord, real_s: f64, resident_bytes: Option<u64>) -> Self {
        let nodes = record.nodes.len().max(1) as f64;
        let last = record.samples.last();
        let links = last.map_or(0, |sample| sample.nodes.iter().map(|node| node.links).sum::<u64>() / 2);
        let idle_per_s = record.idle_bytes_per_link_s * links as f64;
        let most = |of: fn(&Gauges) -> u64| {
            let samples = record.samples.iter().flat_map(|sample| &sample.nodes);
            samples.map(|node| of(&node.gauges)).max().unwrap_or(0)
        };
        let meeting = meeting_bytes(|sort| record.totals.bytes_by_sort.get(sort).copied());
        let for_writes = ((record.totals.bytes - meeting) as f64 - idle_per_s * record.virtual_s).max(0.0);
        Self {
            nodes: record.nodes.len() as u64,
            links,
            up_after_s: record.forming_s,
            same_after_s: record.converged_s,
            idle_bytes_per_node_s: idle_per_s / nodes,
            write_bytes_per_node: for_writes / record.totals.writes.max(1) as f64 / nodes,
            meeting_bytes_per_node: meeting as f64 / nodes,
            held_bytes_per_node: most(|gauges| gauges.content_bytes + gauges.log_bytes),
            clock_entries: most(|gauges| gauges.clock_entries),
            real_s,
            resident_bytes_per_node: resident_bytes.map(|bytes| bytes / nodes as u64),
        }
    }
}

/// The figures as a table in Markdown.
#[must_use]
pub fn growth_table(sizes: &[Size]) -> String {
    let mut text = String::from(
        "| nodes | links | up after | all the same after the end | idle bytes/s per node | bytes per write and node | to meet | content and log on a node | ids in a clock | simulated in | with memory per node |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for size in sizes {
        let same = size.same_after_s.map_or_else(|| "never".into(), |seconds| format!("{seconds:.2} s"));
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} s | {same} | {} | {} | {} | {} | {} | {:.0} s | {} |",
            number(size.nodes),
            number(size.links),
            size.up_after_s,
            number(size.idle_bytes_per_node_s.round() as u64),
            number(size.write_bytes_per_node.round() as u64),
            kib(size.meeting_bytes_per_node as u64),
            kib(size.held_bytes_per_node),
            number(size.clock_entries),
            size.real_s,
            size.resident_bytes_per_node.map_or_else(|| "?".into(), kib)
        );
    }
    text
}

/// Bytes in the unit of memory.
fn kib(bytes: u64) -> String {
    format!("{} KiB", number(bytes.div_ceil(1024)))
}

/// Writes `scale.svg`, `scale.md` and `scale.json`.
///
/// # Errors
/// When the folder cannot be made or a file not be written.
pub fn write_growth(folder: &Path, sizes: &[Size]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("scale.svg"), growth(sizes))?;
    std::fs::write(folder.join("scale.md"), growth_table(sizes))?;
    std::fs::write(folder.join("scale.json"), serde_json::json!(sizes).to_string())
}

const WIDTH: f64 = 920.0;
const PANEL: (f64, f64) = (460.0, 250.0);
const MARGIN: (f64, f64) = (56.0, 40.0);
const PLOT: (f64, f64) = (PANEL.0 - MARGIN.0 - 34.0, PANEL.1 - MARGIN.1 - 44.0);

/// It must be readable on a light and on a dark screen, in a page whose style it does not know.
const STYLE: &str = "svg{--ink:#1d2329;--soft:#5d6872;--grid:#e3e7ea;--a:#2563c4;--b:#c8511b;--card:#fff}\
@media(prefers-color-scheme:dark){svg{--ink:#e6eaed;--soft:#9aa6b0;--grid:#2f373f;--a:#74a9ff;--b:#ff9a68;--card:#14181c}}\
text{font:12px system-ui,sans-serif;fill:var(--soft)}.title{font-size:14px;font-weight:600;fill:var(--ink)}.value{fill:var(--ink);font-size:11px}\
.grid{stroke:var(--grid)}.a,.b{fill:none;stroke:var(--a);stroke-width:1.8}.b{stroke:var(--b)}.pa{fill:var(--a)}.pb{fill:var(--b)}.guide{fill:none;stroke:var(--soft);stroke-dasharray:4 4}\
.card{fill:var(--card)}.la{fill:var(--a)}.lb{fill:var(--b)}";

/// A line of a panel: its name, and a value for each size that has one.
type Line = (&'static str, Vec<Option<f64>>);

/// Plots against the number of nodes, all on scales where one step is ten times as much.
#[must_use]
pub fn growth(sizes: &[Size]) -> String {
    let column = |value: &dyn Fn(&Size) -> Option<f64>| sizes.iter().map(value).collect::<Vec<_>>();
    let panels: [(&str, Vec<Line>); 6] = [
        ("Links", vec![("", column(&|size| Some(size.links as f64)))]),
        (
            "Seconds",
            vec![
                ("until all are up", column(&|size| Some(size.up_after_s))),
                ("until all are the same after the end", column(&|size| size.same_after_s)),
            ],
        ),
        ("Idle: bytes a second from each node", vec![("", column(&|size| Some(size.idle_bytes_per_node_s)))]),
        ("Bytes for one write, per node", vec![("", column(&|size| Some(size.write_bytes_per_node)))]),
        (
            "Bytes of memory",
            vec![
                ("content and log on a node", column(&|size| Some(size.held_bytes_per_node as f64))),
                (
                    "of the simulator, for each node",
                    column(&|size| size.resident_bytes_per_node.map(|bytes| bytes as f64)),
                ),
            ],
        ),
        (
            "Bytes a node sends to meet the others",
            vec![("", column(&|size| Some(size.meeting_bytes_per_node)))],
        ),
    ];
    let height = panels.len().div_ceil(2) as f64 * PANEL.1 + 26.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"What grows with the number of nodes\"><style>{STYLE}</style><rect class=\"card\" width=\"{WIDTH}\" height=\"{height}\"/>"
    );
    let nodes: Vec<f64> = sizes.iter().map(|size| size.nodes as f64).collect();
    for (place, (title, lines)) in panels.iter().enumerate() {
        let (left, top) = ((place % 2) as f64 * PANEL.0, (place / 2) as f64 * PANEL.1);
        panel(&mut svg, (left, top), title, &nodes, lines);
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\">Across: the number of nodes. Dashed: in proportion to it.</text></svg>",
        MARGIN.0,
        height - 10.0
    );
    svg
}

/// A number on a plot.
fn label(value: f64) -> String {
    if value < 1.0 { format!("{value:.2}") } else { short(value) }
}

/// Whole powers of ten around some values.
fn decades(values: impl Iterator<Item = f64>) -> (i32, i32) {
    let (least, most) =
        values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
    if least > most {
        return (0, 1);
    }
    let low = least.log10().floor() as i32;
    (low, (most.log10().ceil() as i32).max(low + 1))
}

fn panel(svg: &mut String, (left, top): (f64, f64), title: &str, nodes: &[f64], lines: &[Line]) {
    let shown = |value: &f64| *value > 0.0;
    let (x_low, x_high) = decades(nodes.iter().copied().filter(shown));
    let (low, high) = decades(lines.iter().flat_map(|(_, values)| values).copied().flatten().filter(shown));
    let (left, top) = (left + MARGIN.0, top + MARGIN.1);
    let bottom = top + PLOT.1;
    let x = |value: f64| left + (value.log10() - f64::from(x_low)) / f64::from(x_high - x_low) * PLOT.0;
    let y = |value: f64| bottom - (value.log10() - f64::from(low)) / f64::from(high - low) * PLOT.1;
    let _ = write!(svg, "<text class=\"title\" x=\"{left}\" y=\"{:.1}\">{title}</text>", top - 20.0);
    for power in low..=high {
        let value = 10f64.powi(power);
        let at = y(value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left + PLOT.0,
            left - 6.0,
            at + 4.0,
            label(value)
        );
    }
    for value in nodes {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(*value),
            bottom + 17.0,
            number(*value as u64)
        );
    }
    guide(svg, nodes, lines, (x, y), (top, bottom));
    for (place, (name, values)) in lines.iter().enumerate() {
        let letter = if place == 0 { "a" } else { "b" };
        let points: Vec<(f64, f64)> =
            nodes.iter().zip(values).filter_map(|(n, value)| Some((*n, value.filter(shown)?))).collect();
        let path: Vec<String> =
            points.iter().map(|(n, value)| format!("{:.1},{:.1}", x(*n), y(*value))).collect();
        let _ = write!(svg, "<polyline class=\"{letter}\" points=\"{}\"/>", path.join(" "));
        for (n, value) in &points {
            let (at_x, at_y) = (x(*n), y(*value));
            let above = if at_y - top < 14.0 { 16.0 } else { -8.0 };
            let _ = write!(
                svg,
                "<circle class=\"p{letter}\" cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"3\"/><text class=\"value\" x=\"{at_x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                at_y + above,
                label(*value)
            );
        }
        if !name.is_empty() {
            let _ = write!(
                svg,
                "<text class=\"l{letter}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                left + PLOT.0,
                top - 20.0 + 14.0 * place as f64
            );
        }
    }
}

/// How it would be in proportion to the number of nodes, from the first point on.
fn guide(
    svg: &mut String,
    nodes: &[f64],
    lines: &[Line],
    (x, y): (impl Fn(f64) -> f64, impl Fn(f64) -> f64),
    (top, bottom): (f64, f64),
) {
    let first = lines.first().and_then(|(_, values)| *values.first()?).filter(|value| *value > 0.0);
    let (Some(from), Some(to), Some(value)) = (nodes.first(), nodes.last(), first) else { return };
    let points: Vec<String> = (0..=40)
        .map(|step| from * (to / from).powf(f64::from(step) / 40.0))
        .map(|n| (x(n), y(value * n / from)))
        .filter(|(_, at)| (top..=bottom).contains(at))
        .map(|(at_x, at_y)| format!("{at_x:.1},{at_y:.1}"))
        .collect();
    let _ = write!(svg, "<polyline class=\"guide\" points=\"{}\"/>", points.join(" "));
}
