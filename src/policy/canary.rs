//! Which tenants a new version of the app is tried with.
//!
//! The choice is a pure function of salt and id, so that all nodes agree without talking: the first 8 bytes, as a big-endian
//! number, of the SHA-256 of `salt:id`, modulo 10,000. A tenant is chosen if that is below 100 times the percentage, so
//! more percent only adds tenants.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};

use crate::config;

/// The rule.
#[derive(Debug)]
pub struct Canary {
    /// The pool that serves the chosen ones.
    pub pool: String,
    listed: HashSet<String>,
    below: u64,
    salt: String,
}

impl Canary {
    /// The rule of a configuration, if it has one.
    #[must_use]
    pub fn new(config: &config::Canary) -> Option<Self> {
        let pool = config.pool.clone()?;
        Some(Self {
            pool,
            listed: config.tenants.iter().cloned().collect(),
            below: u64::from(config.percent) * 100,
            salt: config.salt.clone(),
        })
    }

    /// Whether a tenant is chosen.
    #[must_use]
    pub fn chooses(&self, id: &str) -> bool {
        self.listed.contains(id) || (self.below > 0 && place(&self.salt, id) < self.below)
    }
}

/// The place of a tenant among 10,000.
fn place(salt: &str, id: &str) -> u64 {
    let digest = digest(&SHA256, format!("{salt}:{id}").as_bytes());
    let number = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
    digest.as_ref().iter().take(8).fold(0, number) % 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(percent: u32) -> Vec<usize> {
        let rule = Canary::new(&config::Canary {
            pool: Some("next".to_owned()),
            percent,
            ..config::Canary::default()
        });
        let rule = rule.unwrap();
        (0..10_000)
            .filter(|at| rule.chooses(&format!("tenant-{at}")))
            .collect()
    }

    #[test]
    fn places_are_those_of_the_documented_hash() {
        // python3 -c 'import hashlib; print(int.from_bytes(hashlib.sha256(b"portico:acme").digest()[:8],"big")%10000)'
        for (salt, id, expected) in VECTORS {
            assert_eq!(place(salt, id), *expected, "{salt}:{id}");
        }
    }

    #[test]
    fn more_percent_only_adds_and_the_share_is_about_right() {
        let (few, many) = (chosen(10), chosen(25));
        assert!(few.iter().all(|one| many.contains(one)));
        assert!((900..1100).contains(&few.len()) && (2350..2650).contains(&many.len()));
        assert!(chosen(0).is_empty() && chosen(100).len() == 10_000);
    }

    #[test]
    fn listed_tenants_are_chosen_whatever_the_percentage() {
        let rule = Canary::new(&config::Canary {
            pool: Some("next".to_owned()),
            tenants: vec!["acme".to_owned()],
            ..config::Canary::default()
        });
        let rule = rule.unwrap();
        assert!(rule.chooses("acme") && !rule.chooses("globex"));
        assert!(Canary::new(&config::Canary::default()).is_none());
    }

    const VECTORS: &[(&str, &str, u64)] = &[
        ("portico", "acme", 8798),
        ("portico", "globex", 6952),
        ("v2", "acme", 9643),
    ];
}
