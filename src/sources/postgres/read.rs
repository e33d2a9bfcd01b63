//! What is asked of the database, and how long its answer is waited for.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};

use super::dsn::Dsn;
use super::error::FeedError;
use super::feed::Feed;
use super::load::{self, Built, Piece};
use super::mail::Mail;
use super::select::{Select, TO_MIDNIGHT};
use super::tls::Stream;
use crate::config::CredentialSource;
use crate::tenant::directory::live::Change;

/// Longest wait for a connection that can be used.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for the word to cancel to be taken.
const CANCEL: Duration = Duration::from_secs(2);
/// Longest wait for the answer about a few hosts.
pub(super) const SOME: Duration = Duration::from_secs(10);
/// Longest wait for the first of all rows, which the database may have to sort out, and from one piece to the next.
const ALL: Duration = Duration::from_secs(120);
/// Bytes of rows that are handed over at a time.
const PIECE: usize = 128 * 1024;

/// The half of a connection that moves the bytes.
pub(super) type Wire = Connection<Socket, Stream<Socket>>;

/// All rows, when they are there.
pub(super) struct Loaded {
    /// The table; `None`: nothing has changed.
    pub(super) built: Option<Built>,
    /// What to compare with the next time.
    pub(super) digest: String,
    /// Time until the database's midnight.
    pub(super) to_midnight: Duration,
}

/// A connection; [`drive`] has to move its bytes.
pub(super) async fn connect(dsn: &CredentialSource) -> Result<(Client, Wire), FeedError> {
    let dsn = Dsn::read(dsn)?;
    match timeout(CONNECT, dsn.config.connect(dsn.tls)).await {
        Ok(connected) => connected.map_err(FeedError::Connect),
        Err(_elapsed) => Err(FeedError::Late(CONNECT)),
    }
}

/// Has the notifications of a channel sent to this connection.
pub(super) async fn listen(client: &Client, channel: &str) -> Result<(), FeedError> {
    let listen = format!("LISTEN \"{channel}\"");
    within(SOME, client.batch_execute(&listen)).await
}

/// Sends the text that shows whether notifications arrive to whoever listens. Not by the connection that listens: PgBouncer would
/// pass on what comes back at once, and nothing else.
pub(super) async fn notify(client: &Client, channel: &str, check: &str) -> Result<(), FeedError> {
    let parameters = [(&channel as _, Type::TEXT), (&check as _, Type::TEXT)];
    let asked = client.query_typed("SELECT pg_notify($1, $2)::text", &parameters);
    within(SOME, asked).await?;
    Ok(())
}

impl Feed {
    /// All rows, over a connection of their own, unless `before` says that they are the same. `check` is sent to whoever
    /// listens.
    pub(super) async fn load(
        &self,
        before: Option<String>,
        check: Option<String>,
    ) -> Result<Loaded, FeedError> {
        let (client, mut wire) = connect(&self.settings.dsn).await?;
        let work = async {
            if let Some(check) = check {
                notify(&client, &self.settings.listen, &check).await?;
            }
            let to_midnight = one(&client, TO_MIDNIGHT).await?;
            let to_midnight = Duration::from_secs(to_midnight.parse().unwrap_or(86_400));
            let digest = one(&client, &self.select.digest).await?;
            let forced = self.known.forced.load(Relaxed);
            let built = if before.as_ref() == Some(&digest) && !forced {
                None
            } else {
                Some(self.read_all(&client, forced).await?)
            };
            Ok(Loaded {
                built,
                digest,
                to_midnight,
            })
        };
        tokio::select! {
            biased;
            error = drive(&mut wire, None) => Err(error),
            loaded = work => loaded,
        }
    }

    async fn read_all(&self, client: &Client, forced: bool) -> Result<Built, FeedError> {
        let (send, receive) = mpsc::channel(4);
        let (known, bases) = (Arc::clone(&self.known), self.bases.clone());
        let building = tokio::task::spawn_blocking(move || {
            let Some(mut built) = load::build(receive, &bases)? else {
                return Err(FeedError::Closed);
            };
            if !forced && known.is_loaded() {
                load::check(&known.live, &built.table)?;
            }
            built.table.finish();
            Ok(built)
        });
        let streamed = self.stream(client, &send).await;
        drop(send);
        let built = building.await.map_err(|_panic| FeedError::Build)?;
        streamed?;
        if forced {
            self.known.forced.store(false, Relaxed);
        }
        built
    }

    /// Hands over all rows. Ends early without an error if nobody takes them: the builder says why.
    async fn stream(&self, client: &Client, to: &mpsc::Sender<Piece>) -> Result<(), FeedError> {
        let none: [(String, Type); 0] = [];
        let rows = within(ALL, client.query_typed_raw(&self.select.all, none)).await?;
        let mut rows = std::pin::pin!(rows);
        let mut piece = String::with_capacity(PIECE);
        loop {
            let next = timeout(ALL, rows.next()).await;
            let Some(row) = next.map_err(|_elapsed| FeedError::Late(ALL))? else {
                break;
            };
            piece.push_str(row?.try_get(0)?);
            piece.push('\n');
            if piece.len() >= PIECE {
                let full = std::mem::replace(&mut piece, String::with_capacity(PIECE));
                if to.send(Piece::Rows(full)).await.is_err() {
                    return Ok(());
                }
            }
        }
        for last in [Piece::Rows(piece), Piece::End] {
            if to.send(last).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Reads these hosts again.
    pub(super) async fn read_some(
        &self,
        client: &Client,
        hosts: Vec<String>,
    ) -> Result<Vec<Change>, FeedError> {
        if hosts.is_empty() {
            return Ok(Vec::new());
        }
        let found = rows_of(client, &self.select, &hosts, SOME).await?;
        load::changes(hosts, &found, &self.bases)
    }
}

/// The rows of these hosts, spelled as in the database. The hosts are a parameter and no part of the statement, which has no
/// name, so that a pooler between may change the server after each.
pub(super) async fn rows_of(
    client: &Client,
    select: &Select,
    hosts: &[String],
    longest: Duration,
) -> Result<Vec<String>, FeedError> {
    let parameters = [(&hosts as _, Type::TEXT_ARRAY)];
    let asked = client.query_typed(&select.some, &parameters);
    let mut found = Vec::new();
    for row in within(longest, asked).await? {
        found.push(row.try_get(0)?);
    }
    Ok(found)
}

/// What the planner reckons that the rows of one host cost.
pub(super) async fn cost(client: &Client, select: &Select) -> Result<f64, FeedError> {
    let hosts = ["portico.invalid".to_owned()];
    let plan = format!("EXPLAIN {}", select.some);
    let parameters = [(&hosts.as_slice() as _, Type::TEXT_ARRAY)];
    let rows = within(SOME, client.query_typed(&plan, &parameters)).await?;
    let first: Option<&str> = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(first.and_then(whole_cost).unwrap_or_default())
}

/// The second number of `(cost=0.29..24.93 rows=1 width=32)`.
fn whole_cost(line: &str) -> Option<f64> {
    let (_, cost) = line.split_once("(cost=")?;
    let (_, whole) = cost.split_once("..")?;
    whole.split(' ').next()?.parse().ok()
}

/// Has the server give up the statement that this connection waits for, if it can be reached.
pub(super) async fn cancel(client: &Client, dsn: &CredentialSource) {
    let Ok(dsn) = Dsn::read(dsn) else { return };
    let cancelled = timeout(CANCEL, client.cancel_token().cancel_query(dsn.tls)).await;
    tracing::debug!(?cancelled, "a statement that is stuck is cancelled");
}

/// Moves the bytes of a connection and takes its notifications, until it ends.
pub(super) async fn drive(wire: &mut Wire, mail: Option<&Mail>) -> FeedError {
    loop {
        match poll_fn(|cx| wire.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(note))) => {
                if let Some(mail) = mail {
                    mail.put(note.payload());
                }
            }
            Some(Ok(_notice)) => {}
            Some(Err(error)) => return error.into(),
            None => return FeedError::Closed,
        }
    }
}

/// The answer to a question, if it comes in time.
pub(super) async fn within<T>(
    longest: Duration,
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, FeedError> {
    match timeout(longest, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(FeedError::Late(longest)),
    }
}

/// The one text that a query gives.
async fn one(client: &Client, query: &str) -> Result<String, FeedError> {
    let rows = within(ALL, client.query_typed(query, &[])).await?;
    let first = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(first.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_read_of_the_first_line_of_a_plan() {
        let line = "Nested Loop Left Join  (cost=0.45..24.59 rows=1 width=32)";
        assert_eq!(whole_cost(line), Some(24.59));
        assert_eq!(whole_cost("Seq Scan on t"), None);
    }
}
