//! What goes wrong between the proxy and the database, and what an operator can do.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::{Severity, SqlState};

use super::super::rows::RowError;
use super::dsn::DsnError;
use crate::tenant::directory::table::TableError;
use crate::units::format_duration;

/// Why the database could not be read.
#[derive(Debug, Error)]
pub(super) enum FeedError {
    /// The connection string.
    #[error(transparent)]
    Dsn(#[from] DsnError),
    /// No connection.
    #[error("no connection: {}", told(.0))]
    Connect(#[source] tokio_postgres::Error),
    /// The server or the connection.
    #[error("{}", told(.0))]
    Query(#[from] tokio_postgres::Error),
    /// The server has closed the connection without a word.
    #[error("the server has closed the connection\n  hint: its log says why")]
    Closed,
    /// No answer.
    #[error(
        "no answer within {}\n  hint: is a lock held on the table, or the network cut?", format_duration(*.0)
    )]
    Late(Duration),
    /// What the query gives cannot be taken.
    #[error("{0}")]
    Row(#[from] RowError),
    /// Too much of it.
    #[error("{0}\n  hint: the names of all tenants take more than 4 GiB")]
    Table(#[from] TableError),
    /// The comparison was refused.
    #[error(
        "{gone} of {all} tenants would be gone, so nothing is changed\n  hint: if that is right, run `portico tenant resync --force`"
    )]
    MassDelete {
        /// Tenants that are not in the database any more.
        gone: usize,
        /// Tenants that are known.
        all: usize,
    },
    /// A thread of the building has failed.
    #[error("the table of tenants could not be built\n  hint: this is a defect; please report it")]
    Build,
}

impl FeedError {
    /// Whether the connection is of no more use after it, rather than the one question.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Query(error) => match error.as_db_error() {
                Some(db) => matches!(
                    db.parsed_severity(),
                    Some(Severity::Fatal | Severity::Panic)
                ),
                None => error.is_closed() || error.source().is_some_and(|it| it.is::<io::Error>()),
            },
            Self::Row(_) | Self::Table(_) | Self::MassDelete { .. } | Self::Build => false,
            Self::Dsn(_) | Self::Connect(_) | Self::Closed | Self::Late(_) => true,
        }
    }
}

/// What the server or the system says, with a hint where one is known.
fn told(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        return format!("{text}\n  hint: is PostgreSQL up, and does `dsn_file` name it rightly?");
    };
    let hint = if *db.code() == SqlState::INSUFFICIENT_PRIVILEGE {
        "grant the columns: `portico tenant sql` prints how"
    } else if *db.code() == SqlState::UNDEFINED_TABLE {
        "set `domain_table` and `tenant_table` in `[tenants.postgres]`"
    } else if *db.code() == SqlState::UNDEFINED_COLUMN {
        "does the `preset` fit, and do the columns in `state_sql`, `columns` and `query` exist?"
    } else if *db.code() == SqlState::READ_ONLY_SQL_TRANSACTION {
        "a standby gives no notifications: name the primary, or set `listen = \"\"`"
    } else {
        "the server's log says more"
    };
    format!("{}: {}\n  hint: {hint}", db.severity(), db.message())
}
