//! Where in a TOML text a key stands.

use toml::de::{DeTable, DeValue};

/// The line, from 1, of a key such as `fault[2].nodes`, or of as much of it as is there.
pub(super) fn line_of(text: &str, key: &str) -> usize {
    let Ok(table) = DeTable::parse(text) else { return 0 };
    let mut place = None;
    let mut table = Some(table.get_ref());
    for step in key.split('.') {
        let (name, index) = match step.split_once('[') {
            Some((name, rest)) => (name, rest.trim_end_matches(']').parse::<usize>().ok()),
            None => (step, None),
        };
        let Some((name, value)) = table.and_then(|table| table.iter().find(|(key, _)| key.get_ref() == name))
        else {
            break;
        };
        place = Some(name.span().start);
        let mut value = value;
        if let (Some(index), DeValue::Array(items)) = (index, value.get_ref()) {
            let Some(item) = items.get(index) else { break };
            place = Some(item.span().start);
            value = item;
        }
        table = match value.get_ref() {
            DeValue::Table(below) => Some(below),
            _ => None,
        };
    }
    place.map_or(1, |place| line_of_offset(text, place))
}

/// The line, from 1, of a place in a text.
pub(super) fn line_of_offset(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.matches('\n').count() + 1
}
