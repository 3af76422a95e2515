//! Plots as SVG. Colours come from the page's style, so that they fit a dark and a light screen.

use std::fmt::Write as _;

use super::figures::{Figure, Stretch};
use super::words::esc;
use crate::record::{FaultSpan, RunRecord};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// A number as an axis shows it.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    let (value, suffix) = match size {
        _ if size >= 1e9 => (value / 1e9, "G"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = if value.abs() >= 100.0 || value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    };
    format!("{text}{suffix}")
}

/// A round step that divides a range into about so many.
fn step(range: f64, parts: f64) -> f64 {
    let rough = (range / parts).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].iter().map(|times| times * power).find(|step| *step >= rough).unwrap_or(rough)
}

fn end_of(record: &RunRecord) -> f64 {
    record.samples.last().map_or(record.duration_s, |sample| sample.t).max(1e-3)
}

/// Grid lines and their numbers along the time axis.
fn times(svg: &mut String, end: f64, x: impl Fn(f64) -> f64, top: f64, bottom: f64, parts: f64) {
    let step = step(end, parts);
    let mut t = 0.0;
    while t <= end + 1e-9 {
        let at = x(t);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"
        );
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} s</text>",
            bottom + 15.0,
            short(t)
        );
        t += step;
    }
}

/// A plot with its legend; faults are shaded.
pub(super) fn plot(figure: &Figure, record: &RunRecord) -> String {
    // Of two runs side by side one may be over earlier.
    let end = figure.x.last().map_or(0.0, |last| last.max(end_of(record)));
    let values = || figure.series.iter().flat_map(|series| &series.values).copied();
    let (low, high) = values().fold((0.0f64, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    let unit_step = step((high - low).max(1.0), 4.0);
    let (low, high) =
        ((low / unit_step).floor() * unit_step, ((high / unit_step).ceil() * unit_step).max(unit_step));
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let x = |t: f64| LEFT + t / end * (right - LEFT);
    let y = |value: f64| bottom - (value - low) / (high - low) * (bottom - TOP);
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", esc(figure.title));
    for fault in &record.faults {
        shade(&mut svg, fault, &x, end, TOP, bottom);
    }
    times(&mut svg, end, x, TOP, bottom, 6.0);
    let mut value = low;
    while value <= high + unit_step * 1e-6 {
        let at = y(value);
        let _ =
            write!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 3.5,
            short(value)
        );
        value += unit_step;
    }
    for (place, series) in figure.series.iter().enumerate().rev() {
        let mut path = String::new();
        for (t, value) in figure.x.iter().zip(&series.values) {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", x(*t), y(*value));
        }
        let _ = write!(svg, "<path class=\"line c{}\" d=\"{path}\"/>", place % 6);
    }
    let _ = write!(svg, "<line class=\"cursor\" x1=\"0\" x2=\"0\" y1=\"{TOP}\" y2=\"{bottom}\"/></svg>");
    let mut legend = String::new();
    for (place, series) in figure.series.iter().enumerate() {
        let most = series
            .values
            .iter()
            .copied()
            .fold(0.0f64, |most, value| if value.abs() > most.abs() { value } else { most });
        let _ = write!(
            legend,
            "<span><i class=\"b{}\"></i>{} <small>(most {})</small></span>",
            place % 6,
            esc(&series.name),
            short(most)
        );
    }
    let data = serde_json::json!({ "x": figure.x, "unit": figure.unit, "end": end, "left": LEFT, "right": right, "width": WIDTH,
        "series": figure.series.iter().map(|series| (&series.name, series.values.iter().map(|v| (v * 100.0).round() / 100.0).collect::<Vec<_>>())).collect::<Vec<_>>() });
    let data = data.to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    format!(
        "<figure class=\"plot\" id=\"plot-{}\"><figcaption>{} <small>{}</small></figcaption><div class=\"legend\">{legend}</div>{svg}<script type=\"application/json\">{data}</script></figure>",
        figure.id,
        esc(figure.title),
        esc(figure.unit)
    )
}

fn shade(svg: &mut String, fault: &FaultSpan, x: &impl Fn(f64) -> f64, end: f64, top: f64, bottom: f64) {
    let (from, until) = (x(fault.from.clamp(0.0, end)), x(fault.until.clamp(0.0, end)));
    let _ = write!(
        svg,
        "<rect class=\"fault\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
        (until - from).max(1.5),
        bottom - top,
        esc(&name_of(fault))
    );
}

fn few(names: &[String]) -> String {
    match names.len() {
        0 => String::new(),
        1..=4 => names.join(" "),
        many => format!("{} {} … {} ({many})", names[0], names[1], names[many - 1]),
    }
}

/// What a fault is called: its sort, and whom it touches.
pub(super) fn name_of(fault: &FaultSpan) -> String {
    let kind = fault.kind.replace('-', " ");
    if fault.sides.len() > 1 {
        let sides: Vec<String> = fault.sides.iter().map(|side| few(side)).collect();
        return format!("{kind}: {}", sides.join(" | "));
    }
    format!("{kind} {}", few(&fault.nodes)).trim_end().to_owned()
}

const LANES_WIDTH: f64 = 1160.0;
const FAULT_ROW: f64 = 20.0;
const FAULT_ROWS_MAX: usize = 12;

/// Faults above, a lane for each node below.
pub(super) fn timeline(record: &RunRecord, lanes: &[Vec<Stretch>]) -> String {
    let end = end_of(record);
    let (left, right) = (48.0, LANES_WIDTH - 14.0);
    let x = |t: f64| left + t.clamp(0.0, end) / end * (right - left);
    let (bars, rows, hidden) = fault_bars(record, x, right);
    let top = 4.0 + FAULT_ROW * rows as f64 + if hidden > 0 { FAULT_ROW } else { 0.0 };
    let pitch = match lanes.len() {
        0..=8 => 24.0,
        9..=16 => 18.0,
        17..=40 => 11.0,
        41..=150 => 6.0,
        many => (900.0 / many as f64).max(1.0),
    };
    let bottom = top + 4.0 + pitch * lanes.len() as f64;
    let height = bottom + 22.0;
    let mut svg = format!(
        "<svg class=\"lanes\" viewBox=\"0 0 {LANES_WIDTH} {height:.0}\" role=\"img\" aria-label=\"State of each node over time\">"
    );
    times(&mut svg, end, x, top, bottom, 12.0);
    let gap = if pitch >= 10.0 {
        4.0
    } else if pitch >= 4.0 {
        1.0
    } else {
        0.0
    };
    let every = (12.0 / pitch).ceil() as usize;
    let every = if every <= 1 { 1 } else { every.div_ceil(5) * 5 };
    for (node, lane) in lanes.iter().enumerate() {
        let y = top + 4.0 + pitch * node as f64;
        let name = record.nodes.get(node).map_or("", String::as_str);
        if node == 0 || (node + 1).is_multiple_of(every) {
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + (pitch - gap) / 2.0 + 3.5,
                esc(name)
            );
        }
        for stretch in lane {
            let (from, until) = (x(stretch.from), x(stretch.until));
            let _ = write!(
                svg,
                "<rect class=\"s-{}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}: {} from {:.1} s to {:.1} s</title></rect>",
                stretch.state,
                (until - from).max(1.0),
                pitch - gap,
                esc(name),
                stretch.state.replace('-', " "),
                stretch.from,
                stretch.until
            );
        }
    }
    for fault in &record.faults {
        shade(&mut svg, fault, &x, end, top, bottom);
    }
    svg.push_str(&bars);
    if hidden > 0 {
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{left}\" y=\"{:.1}\">and {hidden} more faults: see the list below</text>",
            top - 6.0
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Bars with names, in as few rows as they fit.
fn fault_bars(record: &RunRecord, x: impl Fn(f64) -> f64, right: f64) -> (String, usize, usize) {
    let (mut svg, mut ends, mut hidden): (String, Vec<f64>, usize) = (String::new(), Vec::new(), 0);
    for fault in &record.faults {
        let (from, until) = (x(fault.from), x(fault.until));
        let width = (until - from).max(3.0);
        let name = name_of(fault);
        let text = name.chars().count() as f64 * 6.4 + 10.0;
        let (text_x, anchor, begins, ends_at) = if text <= width {
            (from + 5.0, "start", from, from + width)
        } else if from + width + text <= right {
            (from + width + 5.0, "start", from, from + width + text)
        } else {
            (from - 5.0, "end", from - text, from + width)
        };
        let row = ends.iter().position(|end| *end + 4.0 <= begins).unwrap_or(ends.len());
        if row >= FAULT_ROWS_MAX {
            hidden += 1;
            continue;
        }
        if row == ends.len() {
            ends.push(0.0);
        }
        ends[row] = ends_at;
        let y = 2.0 + FAULT_ROW * row as f64;
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"3\"><title>{} from {:.1} s to {:.1} s</title></rect>",
            FAULT_ROW - 4.0,
            esc(&name),
            fault.from,
            fault.until
        );
        let _ = write!(
            svg,
            "<text class=\"name\" x=\"{text_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            y + 12.0,
            esc(&name)
        );
    }
    (svg, ends.len(), hidden)
}

/// Rows of bars that share one scale.
pub(super) fn bars(rows: &[(String, f64, String)]) -> String {
    let most = rows.iter().map(|(_, value, _)| *value).fold(1e-9, f64::max);
    let mut html = String::from("<table class=\"bars\">");
    for (name, value, text) in rows {
        let share = value / most * 100.0;
        let _ = write!(
            html,
            "<tr><th>{}</th><td class=\"scale\"><i style=\"width:{share:.1}%\"></i></td><td>{}</td></tr>",
            esc(name),
            esc(text)
        );
    }
    html.push_str("</table>");
    html
}
