//! Where log lines go: to standard error, for people or for machines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogConfig, LogFormat};

/// What is logged unless the operator says otherwise. The libraries below are quiet: what matters of their news
/// is told in this program's own words.
pub const FILTER_DEFAULT: &str = "info,chitchat=warn";

/// Whether a text says what to log: a level or directives.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    // A bare word that is no level would name a target, and a typing error would silence everything else.
    let level_or_directive =
        |part: &str| !part.is_empty() && (part.contains('=') || part.parse::<LevelFilter>().is_ok());
    text.split(',').all(|part| level_or_directive(part.trim())) && EnvFilter::try_new(text).is_ok()
}

/// Sends all events of this process to standard error from now on. A second call changes nothing.
pub fn init(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new(FILTER_DEFAULT));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // It fails when a subscriber is set already, and then logging goes there.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
