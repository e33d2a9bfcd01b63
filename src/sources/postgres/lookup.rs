//! `mode = "lookup"`: the row of one host at a time, when a request needs it, over one connection that is kept.
//!
//! What the database has said is remembered by [`super::super::lookup`], as for every source that is asked. Here is what is
//! PostgreSQL's own:
//!
//! - one connection, made anew with pauses and never by a request; while there is none, questions fail at once. One statement is
//!   under way at a time, and questions that come meanwhile are the next one together: however slow the database is, no heap of
//!   statements grows in it, and the one that is stuck can be cancelled;
//! - notifications, which have a host asked for again. After every new connection all hosts are, for what changed meanwhile was
//!   not heard;
//! - a host is a parameter, whole and as its label below a base domain; rows of two tenants for one host are no answer.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::OptionFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;

use super::super::lookup::{Memory, Reply, Said, Source};
use super::super::rows;
use super::error::FeedError;
use super::mail::{CHECK, Mail};
use super::pause::{Pauses, random};
use super::read::{SOME, cancel, connect, cost, drive, listen, notify, rows_of};
use super::select::Select;
use super::spelling;
use crate::config::Postgres;
use crate::host::Host;
use crate::tenant::row::Row;
use crate::units::format_duration;

/// Questions that one statement asks.
const TOGETHER: usize = 64;
/// A question is asked again over a new connection if the old one ends under it, but not for ever.
const TRIES: usize = 3;
/// A connection that ends sooner is made anew at once no more than once in a row.
const SHORT: Duration = Duration::from_secs(1);
/// What a look-up may cost by the planner's reckoning: with an index it is some ten, and a table that costs as much to read through
/// has tens of thousands of rows.
const DEAR: f64 = 1000.0;

/// The database, to be asked.
#[derive(Debug)]
pub(super) struct Lookups {
    settings: Postgres,
    select: Select,
    bases: Vec<Host>,
    line: watch::Sender<Line>,
}

/// The way to the database.
#[derive(Debug, Clone)]
enum Line {
    /// There will be one in a moment, or a reason why not.
    Coming,
    /// There is one.
    Up(mpsc::Sender<Question>),
    /// There is none, and this is why.
    Down(Arc<str>),
}

#[derive(Debug)]
struct Question {
    host: Host,
    answer: oneshot::Sender<Result<Reply, Arc<str>>>,
}

impl Lookups {
    pub(super) fn new(settings: &Postgres, select: Select, bases: &[Host]) -> Self {
        Self {
            settings: settings.clone(),
            select,
            bases: bases.to_vec(),
            line: watch::Sender::new(Line::Coming),
        }
    }

    async fn line(&self) -> Result<mpsc::Sender<Question>, Arc<str>> {
        let mut line = self.line.subscribe();
        let line = line.wait_for(|line| !matches!(line, Line::Coming)).await;
        match line.as_deref() {
            Ok(Line::Up(line)) => Ok(line.clone()),
            Ok(Line::Down(why)) => Err(Arc::clone(why)),
            Ok(Line::Coming) | Err(_) => Err("there is no connection".into()),
        }
    }

    /// One connection, from its beginning to its end; the flag says whether it could be used.
    async fn hold(&self, memory: &Memory) -> (bool, FeedError) {
        let (client, mut wire) = match connect(&self.settings.dsn).await {
            Ok(connected) => connected,
            Err(error) => return (false, error),
        };
        let mail = Mail::new(random());
        let mut serving = pin!(self.serve(&client, &mail, memory));
        let end = tokio::select! {
            biased;
            error = drive(&mut wire, Some(&mail)) => error,
            Err(error) = &mut serving => error,
        };
        // Before the questions that are under way are let go, so that they wait for the next connection.
        let was_up = matches!(self.line.send_replace(Line::Coming), Line::Up(_));
        if matches!(end, FeedError::Late(_)) {
            cancel(&client, &self.settings.dsn).await;
        }
        (was_up, end)
    }

    async fn serve(
        &self,
        client: &Client,
        mail: &Mail,
        memory: &Memory,
    ) -> Result<Infallible, FeedError> {
        let channel = self.settings.listen.as_str();
        if !channel.is_empty() {
            listen(client, channel).await?;
        }
        self.see_to_index(client).await?;
        let (ask, mut questions) = mpsc::channel(TOGETHER);
        memory.forget(None);
        memory.is_up();
        self.line.send_replace(Line::Up(ask));
        let mut checking: OptionFuture<Pin<Box<dyn Future<Output = bool> + Send>>> = (!channel
            .is_empty())
        .then(|| Box::pin(self.hears(mail)) as Pin<Box<_>>)
        .into();
        let mut is_checking = !channel.is_empty();
        let mut asking = FuturesUnordered::new();
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                waiting = mail.take() => {
                    if waiting.all {
                        memory.forget(None);
                    }
                    for host in waiting.hosts.iter().flat_map(|name| spelling::hosts(name, &self.bases)) {
                        memory.forget(Some(&host));
                    }
                }
                Some(asked) = asking.next() => asked?,
                _ = questions.recv_many(&mut batch, TOGETHER), if asking.is_empty() => {
                    batch.retain(|question: &Question| !question.answer.is_closed());
                    asking.push(self.answer(client, std::mem::take(&mut batch)));
                }
                Some(hears) = &mut checking, if is_checking => {
                    is_checking = false;
                    checking = None.into();
                    if !hears {
                        self.tell_deaf();
                    }
                }
            }
        }
    }

    /// Answers these questions. The error is that of a connection which is of no more use.
    async fn answer(&self, client: &Client, questions: Vec<Question>) -> Result<(), FeedError> {
        if questions.is_empty() {
            return Ok(());
        }
        let mut names: Vec<_> = questions
            .iter()
            .flat_map(|question| spelling::of(&question.host, &self.bases))
            .collect();
        names.sort_unstable();
        names.dedup();
        let longest = SOME.max(self.timeout());
        let found = match rows_of(client, &self.select, &names, longest).await {
            Ok(found) => found,
            Err(error) if error.ends_connection() => return Err(error),
            Err(error) => {
                let why: Arc<str> = error.to_string().into();
                for question in questions {
                    // Who asked may be gone.
                    let _gone = question.answer.send(Err(Arc::clone(&why)));
                }
                return Ok(());
            }
        };
        let rows: Vec<_> = found
            .iter()
            .map(|json| rows::parse(json, &self.bases))
            .collect();
        // Whose row it is cannot be said of one that cannot be taken.
        if questions.len() > 1 && rows.iter().any(Result::is_err) {
            for question in questions {
                Box::pin(self.answer(client, vec![question])).await?;
            }
            return Ok(());
        }
        for question in questions {
            let reply = reply(&question.host, &rows);
            let _gone = question.answer.send(reply);
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        self.settings.lookup().map_or(SOME, |it| it.timeout)
    }

    /// Whether notifications arrive; yes, if that cannot be found out.
    async fn hears(&self, mail: &Mail) -> bool {
        let sending = async {
            let (client, mut wire) = connect(&self.settings.dsn).await?;
            tokio::select! {
                biased;
                error = drive(&mut wire, None) => Err(error),
                sent = notify(&client, &self.settings.listen, mail.check()) => sent,
            }
        };
        if let Err(error) = sending.await {
            tracing::debug!("notifications could not be tried: {error}");
            return true;
        }
        timeout(CHECK, mail.heard()).await.is_ok()
    }

    fn tell_deaf(&self) {
        let lookup = self.settings.lookup();
        tracing::warn!(
            "notifications of the database do not arrive; a change is seen when an answer is older than {}\n  hint: PgBouncer \
             does not pass them on: name the server itself in `dsn_file`, or set `listen = \"\"`",
            lookup.map_or_else(String::new, |it| format_duration(it.positive_ttl)),
        );
    }

    /// Says so if the database has to read a large table through for each look-up. The first statement of a connection: it finds
    /// tables and columns that are not there.
    async fn see_to_index(&self, client: &Client) -> Result<(), FeedError> {
        let cost = cost(client, &self.select).await?;
        if cost > DEAR {
            tracing::warn!(
                "the database reads much for each look-up of a host (estimated cost {cost:.0})\n  hint: is there an index, and `ANALYZE` done? {}",
                self.select.index
            );
        }
        Ok(())
    }
}

impl Source for Lookups {
    type Error = Arc<str>;

    const AWAITED: bool = true;

    async fn ask(&self, host: &Host, _tag: Option<&str>) -> Result<Reply, Arc<str>> {
        for _ in 0..TRIES {
            let (answer, answered) = oneshot::channel();
            let question = Question {
                host: host.clone(),
                answer,
            };
            // Either fails only if the connection has ended.
            if self.line().await?.send(question).await.is_ok()
                && let Ok(answer) = answered.await
            {
                return answer;
            }
        }
        Err("its connections end before it answers".into())
    }

    async fn keep(&self, memory: &Memory) -> Infallible {
        let mut pauses = Pauses::default();
        // One that ends soon is made anew at once only if the one before has not.
        let mut patient = true;
        loop {
            let began = Instant::now();
            let (was_up, error) = self.hold(memory).await;
            let long = began.elapsed() > SHORT;
            if was_up && (long || std::mem::replace(&mut patient, false)) {
                patient |= long;
                tracing::info!(
                    "the connection to the database has ended and is made anew: {error}"
                );
                continue;
            }
            memory.is_down(&error);
            self.line.send_replace(Line::Down(error.to_string().into()));
            sleep(pauses.after(began.elapsed())).await;
            patient = true;
        }
    }
}

/// What these rows say of a host.
fn reply(host: &Host, rows: &[Result<Row, rows::RowError>]) -> Result<Reply, Arc<str>> {
    let mut of_host: Option<&Row> = None;
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) if error.is_of_all() => return Err(error.to_string().into()),
            Err(error) => return Ok(Said::Unusable(error.to_string()).into()),
        };
        if !row.hosts.iter().flatten().any(|it| it == host) {
            continue;
        }
        match of_host {
            Some(other) if other.id != row.id => {
                let reason = "two tenants have it\n  hint: a host names one tenant".to_owned();
                return Ok(Said::Unusable(reason).into());
            }
            Some(_same) => {}
            None => of_host = Some(row),
        }
    }
    let reply = Reply::of(host, of_host);
    Ok(reply.unwrap_or_else(|reason| Said::Unusable(reason.to_owned()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(host: &str, rows: &[&str]) -> Result<Said, Arc<str>> {
        let bases = [Host::parse("example.com").unwrap()];
        let rows: Vec<_> = rows.iter().map(|row| rows::parse(row, &bases)).collect();
        reply(&Host::parse(host).unwrap(), &rows).map(|reply| reply.said)
    }

    fn id(host: &str, rows: &[&str]) -> String {
        match said(host, rows) {
            Ok(Said::Tenant(tenant)) => tenant.id.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn rows_of_other_hosts_are_others_and_two_tenants_of_one_are_nobody_to_be_served() {
        let acme = r#"{"host":"acme","id":1}"#;
        let again = r#"{"host":"ACME.example.com","id":1,"primary":"a.example.com"}"#;
        let other = r#"{"host":"globex.example.com","id":2}"#;
        assert_eq!(id("acme.example.com", &[other, acme, again]), "1");
        assert_eq!(id("globex.example.com", &[acme, other]), "2");
        assert_eq!(id("initech.example.com", &[acme, other]), "Ok(Nobody)");
        let stolen = r#"{"host":"acme.example.com","id":3}"#;
        let bad = r#"{"host":"acme","id":1,"state":"asleep"}"#;
        let nameless = r#"{"host":"acme"}"#;
        for rows in [&[acme, stolen][..], &[bad], &[nameless]] {
            assert!(
                matches!(said("acme.example.com", rows), Ok(Said::Unusable(_))),
                "{rows:?}"
            );
        }
        let error = said("acme.example.com", &[r#"{"hots":"acme"}"#]).unwrap_err();
        assert!(error.contains("no such column"), "{error}");
    }
}
