//! The results as people read them: a table, JSON, and a page of bars.

use std::fmt::Write as _;

use serde_json::json;

use crate::result::{Better, Comparison, Ratio, Side};
use crate::stats::Spread;

/// A number with as many digits as it deserves.
fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 1_000.0 => {
            let digits = format!("{number:.0}");
            let mut grouped = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at) % 3 == 0 {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

fn range(spread: &Spread) -> String {
    if spread.least == spread.most {
        return short(spread.median);
    }
    format!("{} ({} to {})", short(spread.median), short(spread.least), short(spread.most))
}

fn verdict(ratio: &Ratio, better: Better) -> String {
    let sign = if better == Better::More { "≥" } else { "≤" };
    match (ratio.target, ratio.met) {
        (Some(target), Some(met)) => {
            format!("{sign} {}: {}", short(target), if met { "met" } else { "**missed**" })
        }
        _ => String::new(),
    }
}

/// A part's comparisons as a table in Markdown.
pub(crate) fn table(comparisons: &[Comparison]) -> String {
    let mut text = String::from(
        "| what | system | median (range) | p50 | p99 | server CPU | load CPU | Sidetalk to it | target |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let micros = |micros: Option<f64>| micros.map_or(String::new(), |micros| format!("{} µs", short(micros)));
    for comparison in comparisons {
        for (at, side) in comparison.sides.iter().enumerate() {
            let Side { who, value, p50_micros, p99_micros, server_micros, load_micros } = side;
            let ratio = comparison.ratios.iter().find(|ratio| ratio.to == *who);
            let _ = writeln!(
                text,
                "| {} | {who} | {} {} | {} | {} | {} | {} | {} | {} |",
                if at == 0 { &comparison.name } else { "" },
                range(value),
                comparison.unit,
                micros(*p50_micros),
                micros(*p99_micros),
                micros(*server_micros),
                micros(*load_micros),
                ratio.map_or(String::new(), |ratio| range(&ratio.of)),
                ratio.map_or(String::new(), |ratio| verdict(ratio, comparison.better)),
            );
        }
    }
    text
}

/// Everything, for machines.
pub(crate) fn json(machine: &[(String, String)], comparisons: &[Comparison]) -> String {
    let machine: serde_json::Map<_, _> =
        machine.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let all = json!({ "machine": machine, "comparisons": comparisons });
    serde_json::to_string_pretty(&all).expect("it is JSON")
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
    color-scheme:light dark;background:Canvas;color:CanvasText}h2{margin-top:2.5rem}h3{margin:1.4rem 0 .2rem;\
    font-size:1rem}.ok{color:#0a7d4f}.no{color:#c2410c}svg{width:100%;height:auto;display:block}\
    svg text{font:12px system-ui,sans-serif;fill:CanvasText}small{opacity:.75}table{border-collapse:collapse}\
    td{padding:.1rem .8rem .1rem 0}";

/// A page that needs nothing but itself.
pub(crate) fn page(machine: &[(String, String)], comparisons: &[Comparison]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>Sidetalk, side by side</title><style>{STYLE}</style><h1>Sidetalk, side by side</h1><table>"
    );
    for (name, value) in machine {
        let _ = write!(html, "<tr><td><small>{}</small></td><td>{}</td></tr>", escape(name), escape(value));
    }
    html.push_str("</table>");
    let mut part = "";
    for comparison in comparisons {
        if comparison.part != part {
            part = comparison.part;
            let _ = write!(html, "<h2>{}</h2>", escape(part));
        }
        chart(comparison, &mut html);
    }
    html.push_str("</html>");
    html
}

fn chart(comparison: &Comparison, html: &mut String) {
    let better = if comparison.better == Better::More { "more is better" } else { "less is better" };
    let _ = write!(
        html,
        "<h3>{} <small>{}, {better}</small></h3>",
        escape(&comparison.name),
        escape(comparison.unit)
    );
    for ratio in &comparison.ratios {
        let class = match ratio.met {
            Some(true) => "ok",
            Some(false) => "no",
            None => "",
        };
        let verdict = verdict(ratio, comparison.better).replace("**", "");
        let _ = write!(
            html,
            "<div class='{class}'>{} times {} <small>{}</small></div>",
            short(ratio.of.median),
            escape(&ratio.to),
            escape(&verdict)
        );
    }
    let most = comparison.sides.iter().map(|side| side.value.most).fold(f64::MIN_POSITIVE, f64::max);
    let height = 26 * comparison.sides.len();
    let _ = write!(html, "<svg viewBox='0 0 900 {height}' role=img>");
    for (at, side) in comparison.sides.iter().enumerate() {
        let y = 26 * at;
        let x = |value: f64| 170.0 + 560.0 * value / most;
        let colour = if at == 0 { "#2563eb" } else { "#9ca3af" };
        let _ = write!(
            html,
            "<text x=0 y={ty}>{who}</text><rect x=170 y={ry} width={width:.1} height=16 fill='{colour}'/>\
             <line x1={least:.1} x2={most_x:.1} y1={middle} y2={middle} stroke=CanvasText stroke-width=1.5 />\
             <text x=740 y={ty}>{label}</text>",
            ty = y + 17,
            ry = y + 5,
            middle = y + 13,
            who = escape(&side.who),
            width = x(side.value.median) - 170.0,
            least = x(side.value.least),
            most_x = x(side.value.most),
            label = escape(&range(&side.value)),
        );
    }
    html.push_str("</svg>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_targets_judged() {
        assert_eq!(
            (short(1_234_567.8), short(123.4), short(0.816)),
            ("1,234,568".into(), "123".into(), "0.82".into())
        );
        let values = [("Sidetalk", vec![3.0, 4.0, 5.0]), ("Redis", vec![4.0, 4.0, 4.0])];
        let met = |better, target| {
            let found = Comparison::of_values("p", "n".into(), "u", better, &values, &[("Redis", target)]);
            assert!(table(std::slice::from_ref(&found)).contains("1.00 (0.75 to 1.25)"));
            found.ratios[0].met
        };
        assert_eq!(met(Better::More, 1.0), Some(true));
        assert_eq!(met(Better::More, 1.1), Some(false));
        assert_eq!(met(Better::Less, 0.9), Some(false));
    }
}
