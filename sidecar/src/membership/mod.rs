//! Placeholder.
#![allow(missing_docs, clippy::unused_async)]
use crate::core::identity::Replica;
use std::net::SocketAddr;
use std::sync::Arc;
pub struct Settings {
    pub replica: Replica,
    pub cluster: String,
    pub advertise: SocketAddr,
    pub join: Vec<(String, u16)>,
    pub key: Option<[u8; 32]>,
}
pub enum Event {
    Alive { replica: Replica, address: SocketAddr },
    Dead(Replica),
    NameTaken { replica: Replica, address: SocketAddr },
}
pub trait Weather: Send + Sync + 'static {
    fn datagram(&self, peer: SocketAddr, outgoing: bool) -> Option<std::time::Duration>;
}
#[derive(Debug)]
pub struct StartError;
impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("x")
    }
}
pub struct Membership;
impl Membership {
    pub async fn start(
        _: Settings,
        _: tokio::net::UdpSocket,
        _: Arc<dyn Weather>,
        _: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        Ok(Self)
    }
    pub async fn leave(self) {}
}
