//! Blocked and delayed datagrams.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::harness::{Plan, TestNode};
use crate::membership::{Event, Weather};

/// Per peer and direction (outgoing or not): `None` blocks. The rest passes.
#[derive(Default)]
struct Forecast(Mutex<HashMap<(SocketAddr, bool), Option<Duration>>>);

impl Forecast {
    fn set(&self, peer: SocketAddr, outgoing: bool, fate: Option<Duration>) {
        self.0.lock().insert((peer, outgoing), fate);
    }
}

impl Weather for Forecast {
    fn datagram(&self, peer: SocketAddr, outgoing: bool) -> Option<Duration> {
        self.0.lock().get(&(peer, outgoing)).copied().unwrap_or(Some(Duration::ZERO))
    }
}

async fn in_weather(name: &'static str, join: &[&TestNode]) -> (TestNode, Arc<Forecast>) {
    let forecast = Arc::new(Forecast::default());
    (Plan { weather: forecast.clone(), ..Plan::new(name, join) }.start().await, forecast)
}

#[tokio::test]
async fn a_partition_is_death_and_its_end_is_life() {
    let (mut a, forecast) = in_weather("a", &[]).await;
    let mut b = TestNode::start("b", &[&a]).await;
    a.until_alive(&[&b.replica]).await;
    b.until_alive(&[&a.replica]).await;
    forecast.set(b.address, true, None);
    forecast.set(b.address, false, None);
    assert_eq!(a.event().await, Event::Dead(b.replica.clone()));
    assert_eq!(b.event().await, Event::Dead(a.replica.clone()));
    forecast.set(b.address, true, Some(Duration::ZERO));
    forecast.set(b.address, false, Some(Duration::ZERO));
    a.until_alive(&[&b.replica]).await;
    b.until_alive(&[&a.replica]).await;
}

#[tokio::test]
async fn one_deaf_direction_lets_the_other_side_hear() {
    let (mut a, forecast) = in_weather("a", &[]).await;
    let mut b = TestNode::start("b", &[&a]).await;
    a.until_alive(&[&b.replica]).await;
    b.until_alive(&[&a.replica]).await;
    // Whatever `a` sends is lost; `b` hears nothing and goes on asking.
    forecast.set(b.address, true, None);
    assert_eq!(b.event().await, Event::Dead(a.replica.clone()));
    assert!(a.alive.contains_key(&b.replica));
    forecast.set(b.address, true, Some(Duration::ZERO));
    b.until_alive(&[&a.replica]).await;
}

#[tokio::test]
async fn delay_both_ways_keeps_everyone_alive() {
    let (mut a, forecast) = in_weather("a", &[]).await;
    let mut b = TestNode::start("b", &[]).await;
    let delay = Some(Duration::from_millis(150));
    forecast.set(b.address, true, delay);
    forecast.set(b.address, false, delay);
    let c = TestNode::start("c", &[&a, &b]).await;
    a.until_alive(&[&b.replica, &c.replica]).await;
    b.until_alive(&[&a.replica, &c.replica]).await;
}
