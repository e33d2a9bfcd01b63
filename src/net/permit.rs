//! Permits: how many client connections there may be, in all and from one address.
//!
//! A permit is taken before anything is read from a connection and given back by `Drop`. Counts are shared by all
//! workers; they are touched when a connection begins and ends, never by a request.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `limits.connections` is reached.
    Total,
    /// `limits.connections_per_address` is reached.
    Address,
}

/// The counts.
#[derive(Debug)]
pub struct Permits {
    open: AtomicUsize,
    most: AtomicUsize,
    most_per_address: AtomicUsize,
    by_address: DashMap<IpAddr, usize, foldhash::fast::RandomState>,
}

impl Permits {
    /// Counts with limits; 0 is no limit.
    #[must_use]
    pub fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            most_per_address: AtomicUsize::new(most_per_address),
            by_address: DashMap::default(),
        })
    }

    /// Changes the limits; open connections keep their permits.
    pub fn set_limits(&self, most: usize, most_per_address: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.most_per_address
            .store(most_per_address, Ordering::Relaxed);
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes a permit for a connection from `client`.
    ///
    /// # Errors
    /// [`Refused`] names the limit.
    pub fn acquire(self: &Arc<Self>, client: IpAddr) -> Result<Permit, Refused> {
        let mut permit = self.acquire_nameless()?;
        permit.count(client)?;
        Ok(permit)
    }

    /// Takes a permit for a connection of a proxy: its own address stands for many clients and is not counted.
    ///
    /// # Errors
    /// [`Refused::Total`].
    pub fn acquire_nameless(self: &Arc<Self>) -> Result<Permit, Refused> {
        let most = self.most.load(Ordering::Relaxed);
        if self.open.fetch_add(1, Ordering::Relaxed) >= most && most != 0 {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Total);
        }
        Ok(Permit {
            permits: Arc::clone(self),
            key: None,
        })
    }
}

/// The unit that one client is counted by: the address, or the /64 network for IPv6, which one client has whole.
#[must_use]
pub fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
    }
}

/// The right of one connection to be open.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
    key: Option<IpAddr>,
}

impl Permit {
    /// Counts the connection to `client`, once its proxy has named it.
    ///
    /// # Errors
    /// [`Refused::Address`].
    pub fn count(&mut self, client: IpAddr) -> Result<(), Refused> {
        let key = network(client);
        let most = self.permits.most_per_address.load(Ordering::Relaxed);
        let mut count = self.permits.by_address.entry(key).or_insert(0);
        if *count >= most && most != 0 {
            return Err(Refused::Address);
        }
        *count += 1;
        drop(count);
        self.key = Some(key);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(key) = self.key
            && let Entry::Occupied(mut entry) = self.permits.by_address.entry(key)
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_address_and_by_ipv6_network() {
        let permits = Permits::new(3, 2);
        let at = |text: &str| permits.acquire(text.parse().unwrap());
        let first = at("2001:db8::1").unwrap();
        let _second = at("2001:db8::2").unwrap();
        assert_eq!(at("2001:db8::3").unwrap_err(), Refused::Address);
        let _other = at("192.0.2.1").unwrap();
        assert_eq!(at("192.0.2.2").unwrap_err(), Refused::Total);
        drop(first);
        assert_eq!(permits.open(), 2);
        drop(at("2001:db8::3").unwrap());
    }

    #[test]
    fn forgets_addresses_without_connections() {
        let permits = Permits::new(0, 0);
        drop(permits.acquire(IpAddr::from([192, 0, 2, 1])));
        assert!(permits.by_address.is_empty());
    }
}
