//! What a source may say of a tenant besides its names, hosts and state.
//!
//! Values only, as they stand in a row, checked: nothing here applies them. What a row leaves out, its plan says
//! (`[plans.NAME]`), and what that leaves out, the configuration.

use ipnet::IpNet;

use super::row::Flaw;
use crate::config::CookieScope;
use crate::header_name::{Extra, NoExtra, extra};
use crate::units::ByteSize;
pub use crate::units::Rate;

/// What is known of a tenant. Everything is optional; [`Attributes::default`] says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes {
    /// The plan whose values hold where the row has none.
    pub plan: Option<Box<str>>,
    /// The group of app servers that serves it.
    pub pool: Option<Box<str>>,
    /// Requests of all its clients together.
    pub rate: Option<Rate>,
    /// Requests of each client address (IPv6: each /64).
    pub address_rate: Option<Rate>,
    /// Most requests under way.
    pub concurrency: Option<u32>,
    /// The most that it may hold of its pool's places, in percent; says nothing of a pool whose places are not limited.
    pub share: Option<u32>,
    /// Largest body of a request.
    pub body_size: Option<ByteSize>,
    /// Networks of the only clients that may come; empty is everybody.
    pub allow: Vec<IpNet>,
    /// Networks of clients that may not come.
    pub deny: Vec<IpNet>,
    /// Further headers for the app: feature flags, a theme. Only those reach it whose names the configuration has, because
    /// a client of another tenant could send the others.
    pub headers: Vec<Extra>,
    /// What becomes of `Domain=` in cookies that its app sets.
    pub cookie_scope: Option<CookieScope>,
    /// Whether its requests stand in the access log.
    pub access_log: Option<bool>,
    /// Whether the host is proven to be the tenant's own. `None`: the source does not say.
    pub verified: Option<bool>,
}

/// Longest name of a plan or pool, in characters.
const LONGEST_NAME: usize = 63;

impl Attributes {
    /// The columns that [`Self::set`] takes.
    pub const COLUMNS: &'static [&'static str] = &[
        "access_log",
        "address_rate",
        "allow",
        "body_size",
        "concurrency",
        "cookie_scope",
        "deny",
        "header",
        "plan",
        "pool",
        "rate",
        "share",
        "verified",
    ];

    /// Takes the value of a column. `allow`, `deny` and `header` may come more than once, and lists of networks are
    /// separated by commas or spaces; an empty value says nothing. Returns whether there is such a column.
    ///
    /// # Errors
    /// [`Flaw`] for a value that it cannot have.
    pub fn set(&mut self, column: &str, value: &str) -> Result<bool, Flaw> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(Self::COLUMNS.contains(&column));
        }
        match column {
            "plan" => self.plan = Some(name(value)?),
            "pool" => self.pool = Some(name(value)?),
            "rate" => self.rate = Some(rate(value)?),
            "address_rate" => self.address_rate = Some(rate(value)?),
            "concurrency" => self.concurrency = Some(number(value)?),
            "share" => self.share = Some(percent(value)?),
            "body_size" => self.body_size = Some(size(value)?),
            "allow" => networks(value, &mut self.allow)?,
            "deny" => networks(value, &mut self.deny)?,
            "header" => self.headers.push(header(value)?),
            "cookie_scope" => self.cookie_scope = Some(scope(value)?),
            "access_log" => self.access_log = Some(flag(value)?),
            "verified" => self.verified = Some(flag(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn name(value: &str) -> Result<Box<str>, Flaw> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if value.len() <= LONGEST_NAME && value.bytes().all(plain) {
        Ok(value.into())
    } else {
        Err(Flaw::new(
            "not a name of a plan or pool",
            "up to 63 letters, digits, `-`, `_` and `.`",
        ))
    }
}

fn rate(value: &str) -> Result<Rate, Flaw> {
    Rate::parse(value).ok_or(Flaw::new(
        "not a rate",
        "write how many in a second, minute or hour: `50/s`, `600/m`, `10000/h`",
    ))
}

fn number(value: &str) -> Result<u32, Flaw> {
    let number = value.parse().ok().filter(|&number| number > 0);
    number.ok_or(Flaw::new("not a number", "write a whole number from 1"))
}

fn percent(value: &str) -> Result<u32, Flaw> {
    let percent = value
        .parse()
        .ok()
        .filter(|percent| (1..=100).contains(percent));
    percent.ok_or(Flaw::new("not a share", "write percent, from 1 to 100"))
}

fn scope(value: &str) -> Result<CookieScope, Flaw> {
    CookieScope::parse(value).ok_or(Flaw::new(
        "not a scope of cookies",
        "write `host`, `warn` or `off`",
    ))
}

fn size(value: &str) -> Result<ByteSize, Flaw> {
    ByteSize::parse(value).map_err(|_unit| Flaw::new("not a size", "write it as in `10MiB`"))
}

fn networks(value: &str, list: &mut Vec<IpNet>) -> Result<(), Flaw> {
    let items = value.split([',', ' ']).filter(|item| !item.is_empty());
    for item in items {
        let address = || item.parse().map(|address: std::net::IpAddr| address.into());
        let network: IpNet = item.parse().or_else(|_| address()).map_err(|_bad| {
            Flaw::new(
                "not a network",
                "write networks as in `192.0.2.0/24, 2001:db8::/32`",
            )
        })?;
        list.push(network);
    }
    Ok(())
}

fn header(value: &str) -> Result<Extra, Flaw> {
    extra(value).map_err(|wrong| match wrong {
        NoExtra::Form => Flaw::new(
            "not a header",
            "write name and value, as in `X-Theme: dark`",
        ),
        NoExtra::Taken => Flaw::new(
            "a header with a meaning of its own",
            "choose another name, as in `X-Theme`",
        ),
    })
}

/// A yes or no, as databases and people write it.
pub(super) fn flag(value: &str) -> Result<bool, Flaw> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" => Ok(true),
        "false" | "f" | "0" | "no" => Ok(false),
        _ => Err(Flaw::new("not a yes or no", "write `true` or `false`")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_column_takes_its_values_and_refuses_others() {
        let mut all = Attributes::default();
        for (column, value) in [
            ("plan", "gold"),
            ("pool", "eu-1"),
            ("rate", "600/m"),
            ("address_rate", "5"),
            ("concurrency", "20"),
            ("share", "40"),
            ("cookie_scope", "off"),
            ("body_size", "10MiB"),
            ("allow", "192.0.2.0/24, 2001:db8::/32 198.51.100.7"),
            ("deny", ""),
            ("header", "X-Theme: dark blue"),
            ("access_log", "f"),
            ("verified", "TRUE"),
        ] {
            assert_eq!(all.set(column, value), Ok(true), "{column}");
        }
        let rate = all.rate.unwrap();
        assert_eq!((rate.count, rate.per), (600, Duration::from_secs(60)));
        assert_eq!(all.address_rate.unwrap().to_string(), "5/s");
        assert_eq!((all.allow.len(), all.deny.len()), (3, 0));
        assert_eq!(all.headers.first().unwrap().1, "dark blue");
        assert_eq!((all.access_log, all.verified), (Some(false), Some(true)));
        assert_eq!(all.set("colour", "red"), Ok(false));
        assert_eq!(
            (all.share, all.cookie_scope),
            (Some(40), Some(CookieScope::Off))
        );
        for share in ["0", "101", "-1", "40%"] {
            assert!(all.set("share", share).is_err(), "{share}");
        }
        for header in ["Content_Length: 5", "X-Theme: a\r\nX-Tenant: b"] {
            assert!(all.set("header", header).is_err(), "{header}");
        }
        assert_eq!(all.headers.len(), 1);
        for column in Attributes::COLUMNS {
            assert_eq!(all.set(column, " "), Ok(true), "{column}");
            if !matches!(*column, "plan" | "pool") {
                assert!(all.set(column, "what").is_err(), "{column}");
            }
            assert!(all.set(column, "a\nb, c/").is_err(), "{column}");
        }
    }
}
