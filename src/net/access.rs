//! Which addresses may come at all: lists of networks to let in and to keep out.
//!
//! Asked when a connection is accepted, and again for a client that a trusted proxy names. Look-ups take the logarithm
//! of the number of networks, so a list of thousands is fine.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks as sorted ranges that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<(Place, Place)>);

/// An address: whether it is IPv6, and its bits. An IPv4-mapped one is IPv4.
type Place = (bool, u128);

impl Networks {
    /// The union of `networks`.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        let mut ranges: Vec<(Place, Place)> = networks
            .iter()
            .map(|network| (place(network.network()), place(network.broadcast())))
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(Place, Place)> = Vec::new();
        for (start, end) in ranges {
            match merged.last_mut() {
                Some((_, last)) if start.0 == last.0 && start.1 <= last.1.saturating_add(1) => {
                    *last = end.max(*last);
                }
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    /// Whether `address` is in one of them. An IPv4-mapped address is the IPv4 one.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let place = place(address);
        let after = self.0.partition_point(|(start, _)| *start <= place);
        after
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .is_some_and(|(_, end)| place <= *end)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn place(address: IpAddr) -> Place {
    match address.to_canonical() {
        IpAddr::V4(address) => (false, u128::from(address.to_bits())),
        IpAddr::V6(address) => (true, address.to_bits()),
    }
}

/// Who may come: nobody of `deny`; if `allow` has any, nobody else.
#[derive(Debug, Clone, Default)]
pub struct Access {
    allow: Networks,
    deny: Networks,
}

impl Access {
    /// Lists of networks; an empty `allow` is everybody.
    #[must_use]
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        Self {
            allow: Networks::new(allow),
            deny: Networks::new(deny),
        }
    }

    /// Whether `address` may come.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        !self.deny.contains(address) && (self.allow.is_empty() || self.allow.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn deny_wins_and_an_empty_allow_is_everybody() {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let open = Access::new(&[], &nets(&["192.0.2.0/24"]));
        assert!(open.admits(at("198.51.100.1")) && open.admits(at("2001:db8::1")));
        assert!(!open.admits(at("192.0.2.7")) && !open.admits(at("::ffff:192.0.2.7")));
        let both = Access::new(
            &nets(&["10.0.0.0/8", "2001:db8::/32"]),
            &nets(&["10.1.0.0/16"]),
        );
        assert!(both.admits(at("10.2.0.1")) && both.admits(at("2001:db8:1::1")));
        assert!(!both.admits(at("10.1.0.1")) && !both.admits(at("192.0.2.1")));
        assert!(!both.admits(at("2001:db9::1")));
        // All of IPv6 is none of IPv4, and a mapped network is one of IPv4.
        let old = Access::new(&[], &nets(&["::/0", "::ffff:192.0.2.0/120"]));
        assert!(old.admits(at("198.51.100.1")) && !old.admits(at("192.0.2.1")));
        assert!(!old.admits(at("2001:db8::1")));
    }

    proptest! {
        #[test]
        fn ranges_say_what_the_networks_say(
            networks in prop::collection::vec((any::<u32>(), 0..=32u8), 0..20), address in any::<u32>(),
        ) {
            let networks: Vec<IpNet> = networks
                .into_iter()
                .map(|(bits, length)| {
                    IpNet::new(std::net::Ipv4Addr::from_bits(bits).into(), length).unwrap().trunc()
                })
                .collect();
            let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(address));
            let expected = networks.iter().any(|network| network.contains(&address));
            prop_assert_eq!(Networks::new(&networks).contains(address), expected);
        }
    }
}
