//! The sources of settings, laid over each other. Everything is still text here.

use std::collections::BTreeMap;

use super::flags::RunFlags;
use super::mistake::{Mistake, Mistakes};

/// Every setting by its name in the file, and whether it takes a list.
const SETTINGS: [(&str, bool); 29] = [
    ("node_id", false),
    ("cluster", false),
    ("api", false),
    ("api_token_file", false),
    ("api_connections_max", false),
    ("api_requests_max", false),
    ("api_host", true),
    ("gossip", false),
    ("advertise", false),
    ("join", true),
    ("cluster_key_file", false),
    ("insecure_plaintext", false),
    ("hash_session_ids", false),
    ("max_memory", false),
    ("chaos", false),
    ("clock_offset_millis", false),
    ("full_mesh_max", false),
    ("protocol_max", false),
    ("data_dir", false),
    ("fsync", false),
    ("fsync_interval_millis", false),
    ("log_bytes_max", false),
    ("session_lifetime_seconds", false),
    ("bootstrap_millis", false),
    ("rescue_dir", false),
    ("drain_millis", false),
    ("threads", false),
    ("log", false),
    ("log_format", false),
];

/// What one source says of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// One value, or several for a list.
    pub(super) values: Vec<String>,
    /// Where it was set, as its writer would name it.
    pub(super) origin: String,
}

/// What one source says, by setting.
pub(super) type Layer = BTreeMap<&'static str, Given>;

/// Looks up an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads all sources. Mistakes found on the way come beside what could be read, so that the rest is judged too.
///
/// # Errors
/// The file cannot be read at all, or is no TOML: what it meant to say is unknown then.
pub(super) fn read(
    flags: &RunFlags,
    environment: Environment<'_>,
) -> Result<(Layer, Vec<Mistake>), Mistakes> {
    let mut mistakes = Vec::new();
    let mut settings = match &flags.config {
        Some(path) => read_file(path, &mut mistakes).map_err(|mistake| Mistakes(vec![mistake]))?,
        None => Layer::new(),
    };
    settings.extend(from_environment(environment));
    settings.extend(flags.layer());
    Ok((settings, mistakes))
}

fn from_environment(environment: Environment<'_>) -> Layer {
    let given = |(name, list): (&'static str, bool)| {
        let variable = format!("SIDETALK_{}", name.to_uppercase());
        // Compose files and unit files pass on unset variables as empty ones.
        let text = environment(&variable).filter(|text| !text.is_empty())?;
        let values =
            if list { text.split(',').map(|part| part.trim().to_owned()).collect() } else { vec![text] };
        Some((name, Given { values, origin: variable }))
    };
    SETTINGS.into_iter().filter_map(given).collect()
}

fn read_file(path: &str, mistakes: &mut Vec<Mistake>) -> Result<Layer, Mistake> {
    let mistake = |message: String| Mistake { origin: path.to_owned(), message };
    let text = std::fs::read_to_string(path).map_err(|error| mistake(format!("cannot be read: {error}")))?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| mistake(format!("no TOML: {}", error.to_string().trim_end())))?;
    let mut layer = Layer::new();
    for (key, value) in table {
        let origin = format!("{path}: {key}");
        match take_from_file(&key, value) {
            Ok((name, values)) => drop(layer.insert(name, Given { values, origin })),
            Err(message) => mistakes.push(Mistake { origin, message }),
        }
    }
    Ok(layer)
}

fn take_from_file(key: &str, value: toml::Value) -> Result<(&'static str, Vec<String>), String> {
    let Some((name, list)) = SETTINGS.into_iter().find(|(name, _)| *name == key) else {
        let names: Vec<_> = SETTINGS.iter().map(|(name, _)| *name).collect();
        return Err(format!("is no setting; allowed are {}", names.join(", ")));
    };
    let values = match value {
        toml::Value::Array(values) if list => values.into_iter().map(scalar).collect::<Option<_>>(),
        value => scalar(value).map(|text| vec![text]),
    };
    let allowed = if list { "a text or a list of texts" } else { "one text, number or boolean" };
    values.map(|values| (name, values)).ok_or_else(|| format!("must be {allowed}"))
}

fn scalar(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    }
}
