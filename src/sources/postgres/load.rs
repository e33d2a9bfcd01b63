//! Builds a whole table from rows as they stream in, on a thread of its own: a million of them take seconds.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::rows::{self, RowError};
use super::error::FeedError;
use super::spelling;
use crate::host::Host;
use crate::tenant::directory::live::{Live, add};
use crate::tenant::directory::table::{Table, TableError};
use crate::tenant::row::Row;

/// A piece of the answer.
#[derive(Debug)]
pub(super) enum Piece {
    /// Rows, each a line of JSON.
    Rows(String),
    /// There are no more. Without it the answer has broken off.
    End,
}

/// A table, ready to be put into service.
#[derive(Debug)]
pub(super) struct Built {
    /// The table.
    pub(super) table: Table,
    /// Rows that could not be taken.
    pub(super) bad: u64,
}

/// Bad rows that are told one by one.
const TOLD: u64 = 5;

/// Takes rows until they end. `None` if they break off before.
pub(super) fn build(
    mut pieces: mpsc::Receiver<Piece>,
    bases: &[Host],
) -> Result<Option<Built>, FeedError> {
    let mut table = Table::new(bases);
    let (mut bad, mut good) = (0, 0_u64);
    while let Some(piece) = pieces.blocking_recv() {
        let Piece::Rows(lines) = piece else {
            if good == 0 && bad > 0 {
                tracing::error!("not one row of the database could be taken");
            }
            return Ok(Some(Built { table, bad }));
        };
        for line in lines.lines() {
            let taken = match rows::parse(line, bases) {
                Ok(row) => take(&mut table, &row)?,
                Err(error) if error.is_of_all() => return Err(error.into()),
                Err(error) => Err(error.to_string()),
            };
            match taken {
                Ok(()) => good += 1,
                Err(reason) => {
                    bad += 1;
                    if bad <= TOLD {
                        tracing::warn!("a row of the database is left out: {reason}");
                    }
                }
            }
        }
    }
    Ok(None)
}

/// Puts a row into the table; the inner error is the row's own.
fn take(table: &mut Table, row: &Row) -> Result<Result<(), String>, FeedError> {
    let Some(tenant) = row.tenant() else {
        return Ok(Err(
            "it has no `id`\n  hint: the query gives every row an `id`".to_owned(),
        ));
    };
    for host in row.hosts.iter().flatten() {
        match add(table, host, &tenant) {
            Ok(_place) => {}
            Err(TableError::TwoTenants) => {
                return Ok(Err(format!(
                    "its host is another row's too: `{host}`\n  hint: a host names one tenant"
                )));
            }
            Err(error @ TableError::Full) => return Err(error.into()),
        }
    }
    Ok(Ok(()))
}

/// Refuses a table in which more than half of the tenants of `live` are missing. To be asked before the table is finished.
pub(super) fn check(live: &Live, table: &Table) -> Result<(), FeedError> {
    let hasher = RandomState::new();
    let (mut all, mut gone) = (HashSet::new(), HashSet::new());
    live.each(|_host, tenant| {
        let id = hasher.hash_one(tenant.id.as_str());
        if all.insert(id) && table.place(&tenant.id).is_none() {
            gone.insert(id);
        }
    });
    if gone.len() * 2 > all.len() {
        return Err(FeedError::MassDelete {
            gone: gone.len(),
            all: all.len(),
        });
    }
    Ok(())
}

/// What has become of these hosts, by the rows that the database has for them now.
pub(super) fn changes(
    asked: impl IntoIterator<Item = String>,
    found: &[String],
    bases: &[Host],
) -> Result<Vec<crate::tenant::directory::live::Change>, FeedError> {
    let mut changes = Vec::new();
    for name in asked {
        changes.extend(spelling::hosts(&name, bases).map(|host| (host, None)));
    }
    for json in found {
        let row = match rows::parse(json, bases) {
            Ok(row) => row,
            Err(error) if error.is_of_all() => return Err(error.into()),
            Err(error) => {
                tell(&error);
                continue;
            }
        };
        let Some(tenant) = row.tenant().map(Arc::new) else {
            continue;
        };
        for host in row.hosts.into_iter().flatten() {
            changes.push((host, Some(Arc::clone(&tenant))));
        }
    }
    Ok(changes)
}

fn tell(error: &RowError) {
    tracing::warn!("a row of the database is left out: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases() -> Vec<Host> {
        vec![Host::parse("example.com").unwrap()]
    }

    fn built(lines: &[&str], end: bool) -> Result<Option<Built>, FeedError> {
        let (send, receive) = mpsc::channel(8);
        send.try_send(Piece::Rows(lines.join("\n"))).unwrap();
        if end {
            send.try_send(Piece::End).unwrap();
        }
        drop(send);
        build(receive, &bases())
    }

    const ROWS: [&str; 5] = [
        r#"{"host":"a.example.com","id":1}"#,
        r#"{"host":"www.a.net","id":1}"#,
        r#"{"host":"b","id":2,"state":"asleep"}"#,
        r#"{"host":"A.example.com","id":3}"#,
        r#"{"host":"c","id":4,"state":"suspended"}"#,
    ];

    #[test]
    fn bad_rows_are_left_out_and_what_breaks_off_is_no_table() {
        let whole = built(&ROWS, true).unwrap().unwrap();
        assert_eq!(
            (whole.table.hosts(), whole.table.tenants(), whole.bad),
            (3, 2, 2)
        );
        assert!(built(&ROWS, false).unwrap().is_none());
        let wrong = built(&[r#"{"hots":"a"}"#], true).unwrap_err();
        assert!(wrong.to_string().contains("no such column"), "{wrong}");
    }

    #[test]
    fn more_than_half_may_not_go() {
        let live = Live::new(built(&ROWS, true).unwrap().unwrap().table);
        let half = built(&ROWS[..1], true).unwrap().unwrap();
        check(&live, &half.table).unwrap();
        let none = built(&[], true).unwrap().unwrap();
        let refused = check(&live, &none.table).unwrap_err();
        assert!(
            refused.to_string().starts_with("2 of 2 tenants"),
            "{refused}"
        );
        check(&Live::new(Table::new(&[])), &none.table).unwrap();
    }

    #[test]
    fn hosts_without_rows_are_gone() {
        let asked = ["b", "a.example.com", "x.net"].map(str::to_owned);
        let found = [r#"{"host":"A.example.com","id":9}"#.to_owned()];
        let live = Live::new(built(&ROWS, true).unwrap().unwrap().table);
        live.apply(changes(asked, &found, &bases()).unwrap());
        let id = |host: &str| {
            live.tenant(&Host::parse(host).unwrap())
                .map(|it| it.id.to_string())
        };
        assert_eq!(id("a.example.com"), Some("9".to_owned()));
        assert_eq!((id("b.example.com"), id("x.net")), (None, None));
        assert_eq!(id("www.a.net"), Some("1".to_owned()));
    }
}
