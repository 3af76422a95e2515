//! From text to values, and the rules between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::layers::Layer;
use super::mistake::{Mistake, Mistakes};
use super::{ApiAddress, Config, HostPort, LogConfig, LogFormat};
use crate::api::ApiTokens;
use crate::core::node::FULL_MESH_MAX;
use crate::keyring::KeyFile;
use crate::storage::Fsync;
use crate::wire::{Version, Versions};

const API_DEFAULT: ApiAddress =
    ApiAddress::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7411));
const GOSSIP_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7412);
const LOG_BYTES_MIN: u64 = 4096;
const LOG_BYTES_DEFAULT: u64 = 64 << 20;
const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// The log's share of a bound on memory.
const LOG_SHARE: u64 = 8;
const API_CONNECTIONS_DEFAULT: u64 = 16_384;
const API_REQUESTS_DEFAULT: u64 = 4_096;
const MANY: u64 = 1 << 20;
const HOUR_MILLIS: u64 = 3_600_000;
const THREADS_MAX: u64 = 1_024;
const CLOCK_OFFSET_MILLIS_MAX: i64 = 366 * 24 * 3_600_000;
const YEARS_10_SECONDS: u64 = 10 * 366 * 24 * 3_600;

const IP_PORT: &str = "must be IP:PORT, such as 127.0.0.1:7411";
const API: &str = "must be IP:PORT, such as 127.0.0.1:7411, or unix:PATH";
/// What the system takes as the path of a socket.
const SOCKET_PATH_BYTES_MAX: usize = 100;
const NAME: &str = "must be 1 to 64 letters, digits, '.', '-' or '_'";

/// Judges every setting, then how they fit together.
///
/// # Errors
/// Everything that is wrong, with what was found wrong before.
pub(super) fn resolve(settings: Layer, mistakes: Vec<Mistake>) -> Result<Config, Mistakes> {
    let mut reader = Reader { settings, mistakes };
    let config = reader.config();
    if reader.mistakes.is_empty() { Ok(config) } else { Err(Mistakes(reader.mistakes)) }
}

/// Takes settings one by one; goes on after a mistake with the default in its place.
struct Reader {
    settings: Layer,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn config(&mut self) -> Config {
        let api = self.one("api", API_DEFAULT, API, api_address);
        let gossip = self.one("gossip", GOSSIP_DEFAULT, IP_PORT, address);
        let advertise = self.one("advertise", None, "must be IP:PORT, neither of them 0", |text| {
            address(text).filter(|at| at.port() != 0 && !at.ip().is_unspecified()).map(Some)
        });
        let chaos = self.switch("chaos");
        let memory_bytes_max = self.size("max_memory", MEMORY_BYTES_MIN);
        let log_default =
            memory_bytes_max.map_or(LOG_BYTES_DEFAULT, |max| LOG_BYTES_DEFAULT.min(max / LOG_SHARE));
        let config = Config {
            node_id: self.node_id(),
            cluster: self.one("cluster", "sidetalk".to_owned(), NAME, name),
            api,
            api_hosts: self.list("api_host", "must be a host name without a port", host_name),
            gossip,
            advertise,
            join: self.list("join", "must be HOST:PORT, such as 10.0.0.2:7412", host_port),
            cluster_keys: self.secret("cluster_key_file", KeyFile::read),
            cluster_key_file: self.path("cluster_key_file"),
            api_tokens: self.secret("api_token_file", ApiTokens::read),
            api_token_file: self.path("api_token_file"),
            api_connections_max: self.count("api_connections_max", API_CONNECTIONS_DEFAULT),
            api_requests_max: self.count("api_requests_max", API_REQUESTS_DEFAULT),
            hash_session_ids: self.switch("hash_session_ids"),
            memory_bytes_max,
            chaos,
            clock_offset_millis: self.clock_offset(chaos),
            full_mesh_max: self.full_mesh_max(chaos),
            versions: self.versions(chaos),
            data_dir: self.one("data_dir", None, "must be a directory", |text| {
                (!text.is_empty()).then(|| Some(PathBuf::from(text)))
            }),
            fsync: self.fsync(),
            fsync_interval_millis: self.number("fsync_interval_millis", 100, 1, 60_000),
            log_bytes_max: self.size("log_bytes_max", LOG_BYTES_MIN).unwrap_or(log_default),
            session_lifetime_millis: self
                .bounded("session_lifetime_seconds", 1, YEARS_10_SECONDS)
                .map(|seconds| seconds * 1_000),
            bootstrap_millis: self.number("bootstrap_millis", 5_000, 0, HOUR_MILLIS),
            rescue_dir: self.one("rescue_dir", std::env::temp_dir(), "must be a directory", |text| {
                (!text.is_empty()).then(|| text.into())
            }),
            drain_millis: self.number("drain_millis", 10_000, 0, HOUR_MILLIS),
            threads: self.threads(),
            log: self.log(),
        };
        self.check_api(&config.api);
        self.check_gossip(&config);
        if config.hash_session_ids && !self.settings.contains_key("cluster_key_file") {
            let origin = self.origin("hash_session_ids");
            self.blame(&origin, "hashes with a key of the cluster's: add --cluster-key-file FILE".to_owned());
        }
        config
    }

    fn node_id(&mut self) -> String {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let chosen = self.settings.contains_key("node_id");
        match (chosen, name(&host)) {
            (false, None) => {
                self.blame(
                    "--node-id",
                    format!("is needed: the host's name {host:?} cannot be a node's name"),
                );
                host
            }
            (_, host) => self.one("node_id", host.unwrap_or_default(), NAME, name),
        }
    }

    /// More threads than it needs only get into each other's way, and into the application's.
    fn threads(&mut self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.bounded("threads", 1, THREADS_MAX);
        threads.and_then(|threads| usize::try_from(threads).ok()).unwrap_or((processors / 2).max(1))
    }

    fn log(&mut self) -> LogConfig {
        let filter = |text: &str| crate::telemetry::log::is_filter(text).then(|| text.to_owned());
        let levels =
            "must be off, error, warn, info, debug, trace, or directives such as info,sidetalk::net=debug";
        let format = |text: &str| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        };
        LogConfig {
            filter: self.one("log", crate::telemetry::log::FILTER_DEFAULT.to_owned(), levels, filter),
            format: self.one("log_format", LogFormat::Text, "must be text or json", format),
        }
    }

    fn path(&self, setting: &str) -> Option<PathBuf> {
        self.settings.get(setting)?.values.first().map(PathBuf::from)
    }

    fn secret<T, E: ToString>(&mut self, setting: &str, read: impl Fn(&Path) -> Result<T, E>) -> Option<T> {
        let path = self.path(setting)?;
        let origin = format!("{}: {}", self.origin(setting), path.display());
        read(&path).map_err(|error| self.blame(&origin, error.to_string())).ok()
    }

    fn count(&mut self, setting: &'static str, default: u64) -> usize {
        usize::try_from(self.number(setting, default, 1, MANY)).unwrap_or(usize::MAX)
    }

    /// A number of bytes, with a unit or without.
    fn size(&mut self, setting: &'static str, min: u64) -> Option<u64> {
        let allowed = format!("must be a number of bytes from {min} up, such as 536870912, 512MiB or 2GiB");
        self.one(setting, None, &allowed, |text| bytes(text).filter(|bytes| *bytes >= min).map(Some))
    }

    fn fsync(&mut self) -> Fsync {
        self.one("fsync", Fsync::Interval, "must be always, interval or never", |text| match text {
            "always" => Some(Fsync::Always),
            "interval" => Some(Fsync::Interval),
            "never" => Some(Fsync::Never),
            _ => None,
        })
    }

    fn clock_offset(&mut self, chaos: bool) -> i64 {
        let allowed = "must be a number of milliseconds, at most a year either way";
        let bounded = |text: &str| text.parse().ok().filter(|n: &i64| n.abs() <= CLOCK_OFFSET_MILLIS_MAX);
        let millis = self.one("clock_offset_millis", 0, allowed, bounded);
        if millis != 0 && !chaos {
            let origin = self.origin("clock_offset_millis");
            self.blame(&origin, "falsifies the clock, which takes --chaos as well".to_owned());
        }
        millis
    }

    fn versions(&mut self, chaos: bool) -> Versions {
        let version = |text: &str| text.parse().ok().and_then(Version::of).map(Some);
        let newest = self.one("protocol_max", None, "must be the number of a version, from 1 up", version);
        if newest.is_some() && !chaos {
            let origin = self.origin("protocol_max");
            self.blame(&origin, "is only for rehearsals: it takes --chaos as well".to_owned());
        }
        let spoken = newest.map_or(Versions::SPOKEN, |newest| Versions::SPOKEN.up_to(newest));
        if !self.settings.contains_key("data_dir") {
            return spoken;
        }
        spoken.from(Version::SAVED).unwrap_or_else(|| {
            let origin = self.origin("protocol_max");
            self.blame(&origin, format!("must be {} or more with --data-dir", Version::SAVED));
            spoken
        })
    }

    fn full_mesh_max(&mut self, chaos: bool) -> usize {
        let members = self.number("full_mesh_max", FULL_MESH_MAX as u64, 2, 1_000);
        if members != FULL_MESH_MAX as u64 && !chaos {
            let origin = self.origin("full_mesh_max");
            self.blame(
                &origin,
                "must be the same on all nodes, and is only for rehearsals: it takes --chaos".to_owned(),
            );
        }
        usize::try_from(members).unwrap_or(FULL_MESH_MAX)
    }

    fn check_api(&mut self, api: &ApiAddress) {
        let ApiAddress::Tcp(api) = api else { return };
        if !self.settings.contains_key("api_token_file") && !api.ip().is_loopback() {
            let origin = self.origin("api");
            self.blame(
                &origin,
                format!(
                    "{api} can be reached from other machines, and without a token anyone there can read and change \
                     all data; listen on 127.0.0.1, or add --api-token-file FILE (`sidetalk keygen FILE` writes one)"
                ),
            );
        }
    }

    fn check_gossip(&mut self, config: &Config) {
        let (gossip, plaintext) = (config.gossip, self.switch("insecure_plaintext"));
        let origin = self.origin("gossip");
        let keyed = self.settings.contains_key("cluster_key_file");
        if !gossip.ip().is_loopback() && !keyed && !plaintext {
            self.blame(
                &origin,
                format!(
                    "{gossip} can be reached from other machines, and without a key anyone there can read and change \
                     all data; add --cluster-key-file FILE (`sidetalk keygen FILE` writes one), or \
                     --insecure-plaintext on a network where that is harmless"
                ),
            );
        }
        if keyed && plaintext {
            let origin = self.origin("insecure_plaintext");
            self.blame(
                &origin,
                "contradicts the cluster key that is given as well; drop one of the two".to_owned(),
            );
        }
        if gossip.ip().is_unspecified() && config.advertise.is_none() {
            self.blame(
                &origin,
                format!("{gossip} stands for every address of this host; say which one others reach it at: --advertise IP:PORT"),
            );
        }
    }

    fn switch(&mut self, setting: &'static str) -> bool {
        self.one(setting, false, "must be true or false", |text| text.parse().ok())
    }

    fn number(&mut self, setting: &'static str, default: u64, min: u64, max: u64) -> u64 {
        self.bounded(setting, min, max).unwrap_or(default)
    }

    fn bounded(&mut self, setting: &'static str, min: u64, max: u64) -> Option<u64> {
        let allowed = if max == u64::MAX {
            format!("must be a number from {min} up")
        } else {
            format!("must be a number from {min} to {max}")
        };
        let parse = |text: &str| text.parse().ok().filter(|number| (min..=max).contains(number)).map(Some);
        self.one(setting, None, &allowed, parse)
    }

    fn one<T>(
        &mut self,
        setting: &'static str,
        default: T,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        self.list(setting, allowed, parse).pop().unwrap_or(default)
    }

    fn list<T>(&mut self, setting: &'static str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let Some(given) = self.settings.get(setting) else { return Vec::new() };
        let mut values = Vec::with_capacity(given.values.len());
        for text in &given.values {
            match parse(text) {
                Some(value) => values.push(value),
                None => {
                    let mistake =
                        Mistake { origin: given.origin.clone(), message: format!("{text:?} {allowed}") };
                    // A switch is looked at more than once.
                    if !self.mistakes.contains(&mistake) {
                        self.mistakes.push(mistake);
                    }
                }
            }
        }
        values
    }

    /// Where a setting was set, or the flag that would set it.
    fn origin(&self, setting: &str) -> String {
        match self.settings.get(setting) {
            Some(given) => given.origin.clone(),
            None => format!("--{}", setting.replace('_', "-")),
        }
    }

    fn blame(&mut self, origin: &str, message: String) {
        self.mistakes.push(Mistake { origin: origin.to_owned(), message });
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn name(text: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    ((1..=64).contains(&text.len()) && text.bytes().all(fits)).then(|| text.to_owned())
}

fn api_address(text: &str) -> Option<ApiAddress> {
    let Some(path) = text.strip_prefix("unix:") else { return address(text).map(ApiAddress::Tcp) };
    let fits = !path.is_empty()
        && path.len() <= SOCKET_PATH_BYTES_MAX
        && !path.contains(|c: char| c.is_whitespace() || c == '\0');
    fits.then(|| ApiAddress::Unix(path.into()))
}

// `SIDETALK_API` is shared with the commands that call a node, where it may be a URL.
fn address(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("http://").unwrap_or(text);
    match text.strip_prefix("localhost:") {
        Some(port) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
        None => text.parse().ok(),
    }
}

fn host_name(text: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    ((1..=253).contains(&text.len()) && text.bytes().all(fits)).then(|| text.to_ascii_lowercase())
}

fn host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None => host_name(host)?,
    };
    Some(HostPort { host, port })
}
