//! From a configuration to a running node, and back to nothing.
//!
//! Every port is bound before anything starts; every address is logged. Stopping goes the other way round: first
//! the node stops being ready, then requests end, then peers get what they lack, then it leaves.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::chaos::{GossipWeather, Rehearsal};
use super::clocks::Clocks;
use super::drain::{Drain, Drained};
use super::driver::Driver;
use super::handler::{ToDriver, ToLinks};
use super::reload::Reload;
use super::service::Service;
use super::socket_file::SocketFile;
use crate::api::port::Chaos;
use crate::api::{self, ApiSettings, Listener};
use crate::config::{ApiAddress, Config};
use crate::core::identity::{Replica, ReplicaId};
use crate::core::node::{Dropped, FOLD_MIN, Input, Node, NodeConfig};
use crate::keyring::{KeyRing, SessionIdHash};
use crate::membership::{self, Membership, Settings};
use crate::net::{self, Faults, LinkSettings, Links, StreamSecrets};
use crate::storage::{self, Disk, Fsync, Store, StoreError, Worker};

/// Bytes that may wait on one link.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// This share of the time for draining belongs to requests; the rest is left for handing over.
const REQUESTS_SHARE: f32 = 0.75;

/// How long the last words may take.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Why a node does not run.
#[derive(Debug)]
pub enum ServeError {
    /// An address cannot be bound.
    Bind {
        /// Which one.
        address: String,
        /// Its flag.
        flag: &'static str,
        /// Why.
        error: io::Error,
    },
    /// Gossip does not start.
    Membership(membership::StartError),
    /// The directory for data cannot be used.
    Storage(PathBuf, StoreError),
    /// The system gives no random bits.
    NoRandomness,
    /// The others have gone on without this process.
    Forgotten,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, flag, error } => {
                write!(f, "cannot listen on {address} ({error}): give another address with {flag}")
            }
            Self::Forgotten => f.write_str(
                "the others have gone on without this process: start it again, it will come back empty",
            ),
            Self::Membership(error) => write!(f, "cannot start gossip: {error}"),
            Self::Storage(directory, error) => write!(f, "--data-dir {}: {error}", directory.display()),
            Self::NoRandomness => f.write_str("the system gives no random bits"),
        }
    }
}

impl std::error::Error for ServeError {}

/// A node with its ports bound, and nothing started.
pub struct Bound {
    config: Config,
    api: Listener,
    /// Held as long as the API listens on it.
    socket_file: Option<SocketFile>,
    links: TcpListener,
    gossip: UdpSocket,
    api_address: ApiAddress,
    gossip_address: SocketAddr,
}

impl Bound {
    /// Binds every port.
    ///
    /// # Errors
    /// Names the address that cannot be bound.
    pub async fn bind(config: Config) -> Result<Self, ServeError> {
        fn bind_error(
            address: impl fmt::Display,
            flag: &'static str,
        ) -> impl FnOnce(io::Error) -> ServeError {
            move |error| ServeError::Bind { address: address.to_string(), flag, error }
        }
        let (api, socket_file, api_address) =
            bind_api(&config.api).await.map_err(bind_error(&config.api, "--api"))?;
        let (links, gossip) =
            net::bind(config.gossip).await.map_err(bind_error(config.gossip, "--gossip"))?;
        let gossip_address = gossip.local_addr().map_err(bind_error(config.gossip, "--gossip"))?;
        Ok(Self { config, api, socket_file, links, gossip, api_address, gossip_address })
    }

    /// Where the API listens.
    #[must_use]
    pub fn api(&self) -> &ApiAddress {
        &self.api_address
    }

    /// Where gossip and streams listen.
    #[must_use]
    pub fn gossip(&self) -> SocketAddr {
        self.gossip_address
    }

    /// Runs until `stop` resolves, then leaves. Gives what was handed over, and what could not be.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn run(self, stop: impl Future<Output = &'static str>) -> Result<Drained, ServeError> {
        let Self { config, api, socket_file, links: listener, gossip, api_address, gossip_address } = self;
        let clocks = Clocks::new(config.clock_offset_millis);
        let (node, store) = start_node(&config, &clocks)?;
        let replica = node.hello().replica;
        let advertise = config.advertise.unwrap_or(gossip_address);
        tracing::info!(node = %replica.node, id = %replica.id, api = %api_address, gossip = %gossip_address,
            %advertise, "started");
        let driver = Driver::new(node, clocks);
        if let Some(store) = store {
            let interval = Duration::from_millis(config.fsync_interval_millis);
            let node = Arc::clone(&driver) as Arc<dyn Disk>;
            let worker = Worker::start(store, config.fsync, interval, node)
                .map_err(|error| cannot_store(config.data_dir.as_deref(), error.into()))?;
            driver.save_to(Arc::new(worker));
        }
        let keys = config.cluster_keys.as_ref().map(|file| KeyRing::new(&file.keys));
        let session_ids = config.session_id_hash();
        let secrets = StreamSecrets {
            keys: keys.clone(),
            cluster: membership::cluster_mark(&config.cluster),
            session_ids: session_ids.as_ref().map(SessionIdHash::mark).unwrap_or_default(),
        };
        let faults = Arc::new(Faults::default());
        let settings = LinkSettings {
            secrets,
            queue_bytes_max: QUEUE_BYTES_MAX,
            versions: config.versions,
            rehearses: config.chaos,
        };
        let handler = Arc::new(ToDriver(Arc::clone(&driver)));
        let links = Arc::new(Links::new(&settings, Arc::clone(&faults), handler));
        // Before anybody can come in: what is said first must not be lost.
        driver.connect(Arc::new(ToLinks(Arc::clone(&links))));
        links.listen(listener);
        let ticker = tokio::spawn({
            let driver = Arc::clone(&driver);
            async move { driver.tick().await }
        });
        let membership = Settings {
            replica,
            cluster: config.cluster.clone(),
            advertise,
            join: config.join.iter().map(|seed| (seed.host.clone(), seed.port)).collect(),
            keys: keys.clone(),
        };
        let weather = Arc::new(GossipWeather { faults: Arc::clone(&faults), ..GossipWeather::default() });
        let membership = start_membership(membership, gossip, &weather, &driver, &links).await?;
        let rehearsal = Rehearsal { faults, links: Arc::clone(&links), driver: Arc::clone(&driver) };
        let chaos = config.chaos.then(|| Box::new(rehearsal) as Box<dyn Chaos>);
        let service = Service {
            driver: Arc::clone(&driver),
            links: Arc::clone(&links),
            gossip: membership.meter(),
            keys: keys.clone(),
            chaos,
            answers_when_saved: config.data_dir.is_some() && config.fsync == Fsync::Always,
        };
        let reload = Reload {
            keys: config.cluster_keys.clone().zip(keys).zip(config.cluster_key_file.clone()),
            session_ids: session_ids.clone(),
            tokens: config.api_tokens.clone().zip(config.api_token_file.clone()),
            links: Arc::clone(&links),
        };
        let reload = tokio::spawn(reload.keep());
        let drain = Duration::from_millis(config.drain_millis);
        let requests = drain.mul_f32(REQUESTS_SHARE);
        let api_settings = ApiSettings {
            hosts: config.api_hosts.clone(),
            tokens: config.api_tokens.clone(),
            session_ids,
            connections_max: config.api_connections_max,
            requests_max: config.api_requests_max,
            drain: requests,
            ..ApiSettings::default()
        };
        let (close_api, api_closed) = oneshot::channel::<()>();
        let mut api = tokio::spawn(api::serve(api, Arc::new(service), api_settings, async move {
            // Dropped counts as told.
            let _ = api_closed.await;
        }));

        let why = tokio::select! {
            why = stop => why,
            // It ends when it is told to, or in a bug: a node that nobody can ask had better be restarted.
            _ = &mut api => "the API has ended",
            dropped = driver.over() => {
                let at = driver.now().wall;
                rescue(&config, at, &dropped);
                if let (Some(directory), Some(_)) = (&config.data_dir, driver.disk()) {
                    end_saving(&driver, |_| false).await;
                    set_aside(directory, at);
                }
                links.close(FAREWELL_MAX).await;
                membership.leave().await;
                ticker.abort();
                return Err(ServeError::Forgotten);
            }
        };
        tracing::info!(why, "stopping: no longer ready");
        let until = Instant::now() + drain;
        let drain = Drain::begin(&driver);
        driver.input(Input::Leave);
        if close_api.send(()).is_ok() {
            // Ended with a panic or without: it has ended.
            let _ = api.await;
        }
        drop(socket_file);
        let drained = drain.wait(&driver, until).await;
        if last_commit(&driver).await {
            driver.input(Input::Farewell);
        }
        links.close(FAREWELL_MAX).await;
        membership.leave().await;
        ticker.abort();
        reload.abort();
        drained.tell();
        Ok(drained)
    }
}

/// Saves all there is, before anybody counts on this node no more. Gives whether it may leave: what is on the disk says
/// whether others may have gone on without it.
async fn last_commit(driver: &Arc<Driver>) -> bool {
    driver.disk().is_none() || end_saving(driver, Node::would_leave).await
}

/// Saves all there is, and that this process has left or has not. Gives which.
async fn end_saving(driver: &Arc<Driver>, leaves: fn(&Node) -> bool) -> bool {
    let driver = Arc::clone(driver);
    let saved = tokio::task::spawn_blocking(move || {
        let leaves = driver.read(|node, _| leaves(node));
        if let Some(disk) = driver.disk() {
            disk.stop(leaves);
        }
        leaves
    });
    saved.await.unwrap_or(false)
}

/// Connections that wait to be accepted, at most; the system may allow fewer. With the 128 that are usual a burst of a web
/// server's connections overflows, and who finds no place tries again after a second.
pub(super) const BACKLOG: u32 = 4_096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port that was in use a moment ago can be had again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

pub(super) async fn bind_api(address: &ApiAddress) -> io::Result<(Listener, Option<SocketFile>, ApiAddress)> {
    match address {
        ApiAddress::Tcp(address) => {
            let listener = listen(*address)?;
            let bound = ApiAddress::Tcp(listener.local_addr()?);
            Ok((listener.into(), None, bound))
        }
        ApiAddress::Unix(path) => {
            let (listener, file) = SocketFile::bind(path).await?;
            Ok((listener.into(), Some(file), address.clone()))
        }
    }
}

/// The next process begins with an empty directory.
fn cannot_store(directory: Option<&Path>, error: StoreError) -> ServeError {
    ServeError::Storage(directory.unwrap_or(Path::new("")).to_owned(), error)
}

fn set_aside(directory: &Path, at: crate::core::time::UnixMillis) {
    match storage::set_aside(directory, at) {
        Ok(path) => {
            tracing::error!(path = %path.display(), "what was saved is set aside, and not read again");
        }
        Err(error) => tracing::error!(directory = %directory.display(), %error,
            "what was saved cannot be set aside: empty the directory before this node is started again"),
    }
}

/// Says loudly what is dropped, and saves it.
fn rescue(config: &Config, now: crate::core::time::UnixMillis, dropped: &Dropped) {
    let (why, told_by) = (dropped.why, &dropped.told_by);
    tracing::error!(?why, %told_by, operations = dropped.count,
        "the others have gone on without this process, and what it holds may not be joined with theirs: it stops, \
         and comes back empty when it is started again");
    if dropped.ops.is_empty() {
        return;
    }
    match super::rescue::save(&config.rescue_dir, &config.node_id, now, dropped) {
        Ok(path) => tracing::error!(path = %path.display(), operations = dropped.ops.len(),
            "writes that were not shared were saved"),
        Err(error) => tracing::error!(dir = %config.rescue_dir.display(), %error,
            "writes that were not shared are lost: they could not be saved"),
    }
}

/// A node with what its directory holds, or without memory.
fn start_node(config: &Config, clocks: &Clocks) -> Result<(Node, Option<Store>), ServeError> {
    let Some(directory) = &config.data_dir else {
        return Ok((Node::new(node_config(config, clocks)?, clocks.now()), None));
    };
    let begun = Instant::now();
    let (mut store, found) = Store::open(directory, &config.cluster, &config.node_id, config.fsync)
        .map_err(|error| cannot_store(Some(directory), error))?;
    let node_config = node_config(config, clocks)?;
    let node = match found.restored {
        Some(restored) => {
            tracing::info!(directory = %directory.display(), operations = found.ops, bytes = store.bytes(),
                current = restored.is_current, millis = begun.elapsed().as_millis(), "loaded what was saved");
            let node = Node::restore(node_config, clocks.now(), restored);
            if let Err(error) = store.begin(&node.saved_node()) {
                tracing::error!(%error, "this start cannot be noted on the disk: should the process crash before it is, \
                    its successor may have to begin again empty");
                store.reopen().map_err(|error| cannot_store(Some(directory), error))?;
            }
            node
        }
        None => {
            let mut node = Node::new(node_config, clocks.now());
            node.keep_on_disk();
            node
        }
    };
    Ok((node, Some(store)))
}

fn node_config(config: &Config, clocks: &Clocks) -> Result<NodeConfig, ServeError> {
    let random = || getrandom::u64().map(|random| random.max(1)).map_err(|_| ServeError::NoRandomness);
    Ok(NodeConfig {
        replica: Replica {
            node: config.node_id.clone(),
            started: clocks.now().wall,
            id: ReplicaId(random()?),
        },
        cluster: config.cluster.clone(),
        joins: !config.join.is_empty(),
        bootstrap_millis: config.bootstrap_millis,
        lineage: random()?,
        log_bytes_max: config.log_bytes_max,
        session_lifetime_millis: config.session_lifetime_millis,
        memory_bytes_max: config.memory_bytes_max,
        full_mesh_max: config.full_mesh_max,
        fold_min: FOLD_MIN,
    })
}

async fn start_membership(
    settings: Settings,
    socket: UdpSocket,
    weather: &Arc<GossipWeather>,
    driver: &Arc<Driver>,
    links: &Arc<Links>,
) -> Result<Membership, ServeError> {
    let (driver, links) = (Arc::clone(driver), Arc::clone(links));
    let at = Arc::clone(weather);
    let events = move |event| match event {
        membership::Event::Alive { replica, address } => {
            at.moved(&replica.node, address);
            links.know(&replica, address);
            driver.input(Input::Liveness { replica, alive: true });
        }
        membership::Event::Dead(replica) => {
            links.lost(&replica);
            driver.input(Input::Liveness { replica, alive: false });
        }
        // It may be down; or it has another key, and then a stream tells both sides.
        membership::Event::Unanswered(address) => links.probe(address),
        membership::Event::NameTaken { replica, address } => tracing::error!(
            node = %replica.node, id = %replica.id, %address,
            "another process bears this node's name: give each node a --node-id of its own"
        ),
    };
    let weather = Arc::clone(weather) as Arc<dyn membership::Weather>;
    Membership::start(settings, socket, weather, events).await.map_err(ServeError::Membership)
}
