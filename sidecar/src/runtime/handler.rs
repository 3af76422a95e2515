//! Links on one side, the driver on the other.

use std::sync::Arc;

use super::driver::{Driver, Outlet};
use crate::core::message::{Hello, Message, PeerId};
use crate::core::node::Input;
use crate::net::{Handler, Links};
use crate::wire::Version;

/// Hands what comes over the links to the driver.
pub(super) struct ToDriver(pub(super) Arc<Driver>);

impl Handler for ToDriver {
    fn hello(&self) -> Hello {
        self.0.read(|node, _| node.hello())
    }

    fn wants(&self, peer: PeerId) -> bool {
        self.0.read(|node, _| node.wants_link(peer))
    }

    fn up(&self, hello: Hello, version: Version) {
        self.0.change(|node, now| {
            let peer = hello.replica.id;
            node.handle(now, Input::LinkUp(peer));
            if version < Version::FOLDS {
                node.handle(now, Input::Outdated(peer));
            }
            node.handle(now, Input::Message(peer, Message::Hello(hello)));
        });
    }

    fn message(&self, from: PeerId, message: Message) {
        self.0.input(Input::Message(from, message));
    }

    fn down(&self, peer: PeerId) {
        self.0.input(Input::LinkDown(peer));
    }

    fn refused(&self) {
        self.0.input(Input::Refused);
    }
}

/// Hands what the core wants sent to the links.
pub(super) struct ToLinks(pub(super) Arc<Links>);

impl Outlet for ToLinks {
    fn send(&self, to: PeerId, message: &Arc<Message>) -> bool {
        self.0.send(to, message)
    }

    fn disconnect(&self, peer: PeerId, why: &'static str) {
        let links = Arc::clone(&self.0);
        // Closing tells the driver, whose lock is held now.
        tokio::spawn(async move { links.disconnect(peer, why) });
    }
}
