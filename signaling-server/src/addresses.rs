//! What one address may have and do, so that nobody takes a server for itself.
//!
//! Everybody behind a router with one address counts as one, and so does a network of IPv6 (/64), of which a household has at least
//! one. So limits are those of a lecture: 200 phones behind one address come at once, each with a page of a dozen files over six
//! sockets, and a connection, or two while one is exchanged for another.
//!
//! One number, [`Config::connections_per_address_max`](crate::Config), sets them all. Each address is remembered for as long as it
//! has anything open, or is short of what it may do.

use ringtmp_core::lobby::{Bucket, Rate, VisitorId};
use ringtmp_core::time::Time;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Addresses that are remembered, about 100 bytes each. Those that come when there are so many share what one may do.
const ADDRESSES_MAX: usize = 65_536;

/// How often the addresses are looked through for those that can be forgotten, at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// An address may open as many connections at once as it may have, and as many again in this time.
const REFILL_SECONDS: u32 = 30;

/// Requests at once for each connection that an address may have: a page has a dozen files.
const REQUESTS_PER_CONNECTION: u32 = 20;

/// Requests a second for each connection that an address may have: devices that signal by posts send a few.
const REQUESTS_PER_CONNECTION_SECOND: u32 = 4;

/// A new socket counts as so many requests: the handshake of TLS is the dearest thing that a stranger can ask for.
const REQUESTS_PER_SOCKET: f64 = 4.0;

/// All that share what nobody is remembered for.
const OTHERS: VisitorId = VisitorId(u64::MAX);

/// Why an address gets no connection. The texts are for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error(
        "there are {0} connections from your address already, as many as one may have: close some pages, or have whoever runs the server raise --connections-per-address"
    )]
    TooMany(u32),
    #[error(
        "too many connections were opened from your address in a short time: wait a few seconds"
    )]
    TooOften,
}

/// Whom an address counts as.
pub(crate) fn visitor(address: IpAddr) -> VisitorId {
    match address.to_canonical() {
        IpAddr::V4(address) => VisitorId(u64::from(u32::from(address))),
        // The network of /64. What begins with 32 zeros is no network, so that it is none of the above.
        IpAddr::V6(address) => VisitorId((u128::from(address) >> 64) as u64),
    }
}

/// What all addresses have open.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// Of one address; none for no limits at all.
    connections_max: Option<u32>,
    started: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<VisitorId, Known>,
    swept: Time,
}

#[derive(Debug)]
struct Known {
    connections: u32,
    /// Connections that it may open.
    openings: Bucket,
    /// Requests that it may make.
    requests: Bucket,
}

/// A connection that counts for its address, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Opened {
    addresses: Arc<Addresses>,
    visitor: VisitorId,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut table = self.addresses.lock();
        if let Some(known) = table.known.get_mut(&self.visitor) {
            known.connections = known.connections.saturating_sub(1);
        }
    }
}

impl Addresses {
    /// So many connections for each; 0 for no limits.
    pub(crate) fn new(connections_max: u32) -> Self {
        Self {
            connections_max: (connections_max > 0).then_some(connections_max),
            started: Instant::now(),
            table: Mutex::default(),
        }
    }

    /// Lets an address open a connection.
    pub(crate) fn open(self: &Arc<Self>, visitor: VisitorId) -> Result<Option<Opened>, Refused> {
        let Some(connections_max) = self.connections_max else {
            return Ok(None);
        };
        let now = self.now();
        let mut table = self.lock();
        let (visitor, known) = table.of(now, visitor, connections_max);
        if known.connections >= connections_max {
            return Err(Refused::TooMany(connections_max));
        }
        if !known.openings.spend(now, openings(connections_max), 1.0) {
            return Err(Refused::TooOften);
        }
        known.connections += 1;
        drop(table);
        let addresses = Arc::clone(self);
        Ok(Some(Opened { addresses, visitor }))
    }

    /// Whether an address may make another request.
    pub(crate) fn may_ask(&self, visitor: VisitorId) -> bool {
        self.spend(visitor, 1.0)
    }

    /// Whether an address may open another socket.
    pub(crate) fn may_come(&self, visitor: VisitorId) -> bool {
        self.spend(visitor, REQUESTS_PER_SOCKET)
    }

    fn spend(&self, visitor: VisitorId, cost: f64) -> bool {
        let Some(connections_max) = self.connections_max else {
            return true;
        };
        let now = self.now();
        let mut table = self.lock();
        let (_, known) = table.of(now, visitor, connections_max);
        known.requests.spend(now, requests(connections_max), cost)
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// What is known of an address, and under whose name.
    fn of(
        &mut self,
        now: Time,
        visitor: VisitorId,
        connections_max: u32,
    ) -> (VisitorId, &mut Known) {
        self.sweep(now, connections_max);
        let is_new = !self.known.contains_key(&visitor);
        let name = match is_new && self.known.len() >= ADDRESSES_MAX {
            true => OTHERS,
            false => visitor,
        };
        let fresh = || Known {
            connections: 0,
            openings: Bucket::full(now, openings(connections_max)),
            requests: Bucket::full(now, requests(connections_max)),
        };
        (name, self.known.entry(name).or_insert_with(fresh))
    }

    /// Forgets those who are as if they had never come.
    fn sweep(&mut self, now: Time, connections_max: u32) {
        if now.since(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        let (openings, requests) = (openings(connections_max), requests(connections_max));
        self.known.retain(|_, known| {
            known.connections > 0
                || !known.openings.is_full(now, openings)
                || !known.requests.is_full(now, requests)
        });
    }
}

fn openings(connections_max: u32) -> Rate {
    Rate {
        burst: connections_max,
        per_second: connections_max.div_ceil(REFILL_SECONDS),
    }
}

fn requests(connections_max: u32) -> Rate {
    Rate {
        burst: connections_max.saturating_mul(REQUESTS_PER_CONNECTION),
        per_second: connections_max.saturating_mul(REQUESTS_PER_CONNECTION_SECOND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> VisitorId {
        visitor(text.parse().expect("an address"))
    }

    #[test]
    fn a_household_counts_as_one_however_many_addresses_it_has() {
        assert_eq!(of("192.168.1.7"), of("::ffff:192.168.1.7"));
        assert_ne!(of("192.168.1.7"), of("192.168.1.8"));
        assert_eq!(of("2001:db8:0:7::1"), of("2001:db8:0:7:ffff::2"));
        assert_ne!(of("2001:db8:0:7::1"), of("2001:db8:0:8::1"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_so_many_connections_and_opens_so_many_in_a_while() {
        let addresses = Arc::new(Addresses::new(2));
        let (one, other) = (of("192.168.1.7"), of("192.168.1.8"));
        let first = addresses.open(one).expect("the first");
        let second = addresses.open(one).expect("the second");
        assert_eq!(addresses.open(one).err(), Some(Refused::TooMany(2)));
        let theirs = addresses.open(other).expect("another's");
        drop((first, second));
        assert_eq!(addresses.open(one).err(), Some(Refused::TooOften));
        tokio::time::advance(Duration::from_secs(1)).await;
        let third = addresses.open(one).expect("a second later");
        drop((third, theirs));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(addresses.may_ask(of("192.168.1.9")));
        assert_eq!(addresses.lock().known.len(), 1, "the others are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_phones_behind_one_address_load_the_page_and_join() {
        let addresses = Arc::new(Addresses::new(crate::CONNECTIONS_PER_ADDRESS));
        let nat = of("203.0.113.1");
        let mut open = Vec::new();
        for _ in 0..200 {
            assert!((0..6).all(|_| addresses.may_come(nat)));
            assert!((0..12).all(|_| addresses.may_ask(nat)));
            // They watch at first, then come in over a connection of their own.
            open.push(addresses.open(nat).expect("to watch"));
            open.push(addresses.open(nat).expect("to join"));
        }
        // A flood from there ends within what that leaves.
        assert!((0..20_000).any(|_| !addresses.may_ask(nat)));
        assert!(addresses.may_ask(of("203.0.113.2")));
    }

    #[tokio::test(start_paused = true)]
    async fn more_addresses_than_are_remembered_share_what_one_may_do() {
        let addresses = Arc::new(Addresses::new(1));
        for i in 0..ADDRESSES_MAX as u64 {
            assert!(addresses.may_ask(VisitorId(i)));
        }
        let newcomer = VisitorId(1 << 40);
        let opened = addresses.open(newcomer).expect("one of all others");
        let another = VisitorId(1 << 41);
        assert_eq!(addresses.open(another).err(), Some(Refused::TooMany(1)));
        assert_eq!(addresses.lock().known.len(), ADDRESSES_MAX + 1);
        drop(opened);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let addresses = Arc::new(Addresses::new(0));
        assert!(
            addresses
                .open(of("192.168.1.7"))
                .is_ok_and(|opened| opened.is_none())
        );
        assert!(addresses.lock().known.is_empty());
    }
}
