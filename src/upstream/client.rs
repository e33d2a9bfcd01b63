//! Sends one request to one server of a group.

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::Body;

use super::answer::{Answer, AnswerBody};
use super::balance::{self, Candidate, Random};
use super::budget::Budget;
use super::connect::ConnectError;
use super::error::SendError;
use super::lease::{Cause, Failed, Lease, Slot};
use super::pool::{Permit, Pool, Way};
use super::queue::{Queue, Wants};
use super::retry::{self, Attempt, Decision};
use super::share::{self, Claim};
use super::spec::Spec;
use crate::net::deadline::Deadline;
use crate::net::proxy_header::Header;
use crate::net::quota::Quota;

/// The servers that may answer, as one worker sees them.
#[derive(Debug)]
pub struct Group<B> {
    spec: Arc<Spec>,
    /// In the order of the spec's members.
    pools: Vec<Rc<Pool<B>>>,
    queue: Rc<Queue>,
    budget: Rc<Budget>,
    random: Rc<Random>,
}

/// What an exchange cost, for log and metrics; filled in also when it fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Connections made.
    pub connects: u32,
    /// Connections that could not be made.
    pub connects_failed: u32,
    /// Whether the answer came on a kept connection.
    pub reused: bool,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Whether a retry was left out because the budget was spent.
    pub budget_spent: bool,
    /// Whether it had to wait in the queue.
    pub queued: bool,
}

/// What was tried for a request, and so what it wants next.
#[derive(Debug, Clone, Copy)]
struct Tries {
    /// Requests written, or about to be.
    sends: usize,
    /// Without the servers that could not be connected to, or broke a fresh connection.
    wants: Wants,
}

impl<B> Group<B>
where
    B: Body + Default + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A group over `pools`, one for each member of `spec`.
    pub(super) fn new(
        spec: Arc<Spec>,
        pools: Vec<Rc<Pool<B>>>,
        queue: Rc<Queue>,
        budget: Rc<Budget>,
        random: Rc<Random>,
    ) -> Self {
        Self {
            spec,
            pools,
            queue,
            budget,
            random,
        }
    }

    /// Its name, servers and settings.
    #[must_use]
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// What a tenant may hold that has `percent` of this group: of the servers that are in service, if they have a cap.
    #[must_use]
    pub fn claim(&self, percent: u32, places: &Arc<Quota>, waiting: &Arc<Quota>) -> Option<Claim> {
        let settings = &self.spec.settings;
        let most = settings.server_requests?;
        let members = self.spec.members.iter();
        let well = members.filter(|member| member.server.share(settings.slow_start) != 0);
        let servers = u32::try_from(well.count()).unwrap_or(u32::MAX).max(1);
        Some(Claim {
            places: Arc::clone(places),
            most_places: share::part(most.saturating_mul(servers), percent),
            waiting: Arc::clone(waiting),
            most_waiting: share::part(settings.queue, percent),
        })
    }

    /// Sends `request`, whose target is in origin form and whose headers are final. `from` is for servers that are told
    /// by a PROXY protocol header whose connection it is. `deadline` is used for each wait. The place it
    /// gets counts for `claim` until the lease is dropped.
    ///
    /// Dropped before it is done, the connection in use is closed, or the stream reset.
    ///
    /// # Errors
    /// [`SendError`], after the retries that are safe.
    pub async fn send(
        &self,
        mut request: Box<Request<B>>,
        (from, claim): (Header, Option<&Claim>),
        deadline: &Deadline,
        sent: &mut Sent,
    ) -> Result<Answer<B>, SendError> {
        self.budget.earn();
        let only_http1 = request.headers().contains_key(header::UPGRADE);
        let mut tries = Tries {
            sends: 0,
            wants: Wants {
                only_http1,
                ..Wants::default()
            },
        };
        loop {
            // Awaited where it is made, here and below: a future with a name is kept twice in the one that waits for it.
            let (index, mut lease, reused) =
                self.lease(&mut tries, claim, from, deadline, sent).await?;
            tries.sends += 1;
            let copy = if reused || lease.is_http2() || self.pools.len() > 1 {
                keep_copy(&request, lease.is_http2())
            } else {
                None
            };
            let method = request.method().clone();
            let limit = self.spec.settings.response_timeout;
            // Whether a failure may be due to nothing but the age of the connection.
            let mut old = reused;
            let answer = match deadline.limit(limit, lease.send(request)).await {
                Some(Ok(response)) => {
                    old = false;
                    let (head, body) = response.into_parts();
                    // Only another server is asked then: with one, waiting would serve nothing.
                    let elsewhere = copy.is_some() && self.pools.len() > 1;
                    let body = if elsewhere && method.is_idempotent() {
                        AnswerBody::begun(body, deadline).await
                    } else {
                        Ok(AnswerBody::untouched(body))
                    };
                    let body = body.map_err(Failed::from);
                    Some(body.map(|body| Response::from_parts(head, body)))
                }
                Some(Err(failed)) => Some(Err(failed)),
                None => None,
            };
            match answer {
                None => {
                    self.failed(index);
                    let server = lease.label().to_string();
                    return Err(SendError::ResponseTimeout { server });
                }
                Some(Ok(response)) => {
                    sent.reused = reused;
                    if self.pools.len() > 1 {
                        lease.pool().server().note_success();
                    }
                    return Ok(Answer { response, lease });
                }
                Some(Err(failed)) => {
                    if !old && failed.blames_server() {
                        self.failed(index);
                    }
                    let mut after = tries;
                    if !old && failed.is_broken_connection() {
                        after.wants.refuse(index);
                    }
                    request = self.again(failed, copy, &method, old, &lease, &after, sent)?;
                    // One that was all but tried may be asked again if nobody is left (nothing was written to it).
                    tries = if self.has_untried(&after) {
                        after
                    } else {
                        Tries {
                            wants: Wants {
                                refused: 0,
                                ..after.wants
                            },
                            ..after
                        }
                    };
                    tries.wants.fresh = old;
                }
            }
        }
    }

    /// A connection to a server, with the server's place and whether the connection was there already.
    async fn lease(
        &self,
        tries: &mut Tries,
        claim: Option<&Claim>,
        from: Header,
        deadline: &Deadline,
        sent: &mut Sent,
    ) -> Result<(usize, Lease<B>, bool), SendError> {
        loop {
            let wants = tries.wants;
            // Nobody overtakes those who wait and could go.
            let way = if self.queue.is_clear(|theirs| self.has_room(theirs)) {
                self.claimed(claim, wants)
            } else {
                None
            };
            let (index, way) = match way {
                Some(way) => way,
                None => {
                    sent.queued = true;
                    Box::pin(self.wait(claim, wants, deadline)).await?
                }
            };
            match way {
                Way::Kept(lease) => return Ok((index, lease, true)),
                Way::Connect(slot, permit) => {
                    // Boxed: making a connection is rare and its state is large, and every request would carry it.
                    let connecting = self.connect(slot, permit, wants, from, deadline);
                    match Box::pin(connecting).await {
                        Ok(lease) => {
                            sent.connects += 1;
                            return Ok((index, lease, false));
                        }
                        Err(error) => {
                            sent.connects_failed += 1;
                            self.failed(index);
                            tries.wants.refuse(index);
                            if !self.may_go_elsewhere(tries, sent) {
                                return Err(error);
                            }
                        }
                    }
                }
                Way::Soon(slot) => {
                    let pool = Rc::clone(slot.pool());
                    drop(slot);
                    let limit = self.spec.settings.connect_timeout;
                    if deadline.limit(limit, pool.connected()).await.is_none() {
                        let server = pool.server().label().to_string();
                        return Err(SendError::ConnectTimeout { server });
                    }
                }
            }
        }
    }

    /// The request to be sent again, if it may be.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are what is known of one attempt, and one caller has them"
    )]
    fn again(
        &self,
        mut failed: Failed<B>,
        copy: Option<Copy>,
        method: &Method,
        reused: bool,
        lease: &Lease<B>,
        tries: &Tries,
        sent: &mut Sent,
    ) -> Result<Box<Request<B>>, SendError> {
        let attempt = Attempt {
            unsent: failed.unsent.is_some(),
            unprocessed: failed.is_unprocessed(),
            reused,
            replayable: copy.is_some() && !failed.has_begun(),
            elsewhere: !reused && failed.is_broken_connection() && self.has_untried(tries),
        };
        let allowed = match retry::decide(method, attempt, tries.sends) {
            Decision::GiveUp => false,
            Decision::Free => true,
            Decision::Paid => self.spend(sent),
        };
        let again = failed
            .unsent
            .take()
            .or_else(|| copy.and_then(Copy::into_request).map(Box::new));
        if let Some(request) = again.filter(|_| allowed) {
            sent.retries += 1;
            return Ok(request);
        }
        let server = lease.label().to_string();
        Err(match failed.cause {
            Cause::Error(source) => SendError::Exchange { server, source },
            Cause::TooManyInterim => SendError::TooManyInterim { server },
            // A lease without a connection: nothing was tried, and nobody is to blame.
            Cause::Unused => SendError::ConnectTimeout { server },
        })
    }

    /// A server that failed is left alone for a moment by this worker, and by all after too many failures.
    fn failed(&self, index: usize) {
        let Some(member) = self.spec.members.get(index) else {
            return;
        };
        if self.pools.len() <= 1 {
            return;
        }
        let server = &member.server;
        let slow_start = self.spec.settings.slow_start;
        let others = || {
            let mut others = self.spec.members.iter().enumerate();
            others.any(|(at, other)| at != index && other.server.share(slow_start) != 0)
        };
        if let Some(time) = server.note_failure(self.spec.ejection(), others) {
            tracing::warn!(
                server = %server.label(),
                "the server fails and is left alone for {}; others take its requests\nhint: look at the server; \
                 `upstream.eject_failures` and `upstream.eject_time` set when and for how long",
                crate::units::format_duration(time)
            );
        }
    }

    /// Whether another server may be tried after one could not be connected to.
    fn may_go_elsewhere(&self, tries: &Tries, sent: &mut Sent) -> bool {
        let again = self.has_untried(tries) && self.spend(sent);
        sent.retries += u32::from(again);
        again
    }

    fn has_untried(&self, tries: &Tries) -> bool {
        (0..self.pools.len().min(64)).any(|index| !tries.wants.has_refused(index))
    }

    fn spend(&self, sent: &mut Sent) -> bool {
        let may = self.budget.spend();
        sent.budget_spent |= !may;
        may
    }

    /// A server with room, and a way to a connection to it. Servers that are well come before those that refused a
    /// moment ago or are left alone, and those before what probes call down; if all are, each is as good as another.
    ///
    /// None if those are full: a request waits for a server that is well rather than go to one that is not.
    fn admit(&self, wants: Wants) -> Option<(usize, Way<B>)> {
        if let [only] = self.pools.as_slice() {
            return Some((0, only.admit(wants)?));
        }
        let rank = self.rank(wants)?;
        // A server may be full by the time it is asked, because another worker was faster: then the next best.
        for _ in 0..self.pools.len() {
            let candidate = |index: usize| {
                let pool = self.pools.get(index)?;
                let member = self.spec.members.get(index)?;
                let share = self.share(index, rank, wants);
                (share > 0 && pool.has_room(wants)).then(|| Candidate {
                    weight: u64::from(share) * u64::from(member.weight),
                    load: u64::from(pool.count().requests()),
                })
            };
            let index = balance::choose(self.pools.len(), candidate, &self.random)?;
            if let Some(way) = self.pools.get(index)?.admit(wants) {
                return Some((index, way));
            }
        }
        None
    }

    /// Whether [`Self::admit`] would find a server.
    fn has_room(&self, wants: Wants) -> bool {
        if let [only] = self.pools.as_slice() {
            return only.has_room(wants);
        }
        let Some(rank) = self.rank(wants) else {
            return false;
        };
        let mut pools = self.pools.iter().enumerate();
        pools.any(|(index, pool)| self.share(index, rank, wants) > 0 && pool.has_room(wants))
    }

    /// How well the best servers are that a request may go to; none if it was refused by each.
    fn rank(&self, wants: Wants) -> Option<Rank> {
        let has = |rank: &Rank| (0..self.pools.len()).any(|at| self.share(at, *rank, wants) > 0);
        [Rank::Well, Rank::Doubtful, Rank::Any]
            .into_iter()
            .find(has)
    }

    /// What part of its weight a server has when one of `rank` is asked for; 0 if it is none of them.
    fn share(&self, index: usize, rank: Rank, wants: Wants) -> u32 {
        let (Some(pool), Some(member)) = (self.pools.get(index), self.spec.members.get(index))
        else {
            return 0;
        };
        match rank {
            _ if wants.has_refused(index) => 0,
            Rank::Well if pool.is_avoided() => 0,
            Rank::Well => member.server.share(self.spec.settings.slow_start),
            Rank::Doubtful => u32::from(!member.server.is_down()),
            Rank::Any => 1,
        }
    }

    /// As [`Self::admit`], as part of a tenant's share.
    fn claimed(&self, claim: Option<&Claim>, wants: Wants) -> Option<(usize, Way<B>)> {
        let Some(claim) = claim else {
            return self.admit(wants);
        };
        let place = claim.place()?;
        let (index, mut way) = self.admit(wants)?;
        match &mut way {
            Way::Kept(lease) => lease.hold(Some(place)),
            Way::Connect(slot, _) | Way::Soon(slot) => slot.hold(Some(place)),
        }
        Some((index, way))
    }

    /// Waits in the queue until a server has room.
    async fn wait(
        &self,
        claim: Option<&Claim>,
        wants: Wants,
        deadline: &Deadline,
    ) -> Result<(usize, Way<B>), SendError> {
        let settings = &self.spec.settings;
        let _part = match claim {
            Some(claim) => Some(claim.wait().ok_or(SendError::ShareSpent)?),
            None => None,
        };
        let _place = self
            .spec
            .shared
            .enter(settings.queue)
            .ok_or(SendError::QueueFull)?;
        let attempt = || self.claimed(claim, wants);
        let room = |theirs: Wants| self.has_room(theirs);
        let turn = self.queue.wait((claim, wants), room, attempt);
        deadline
            .limit(settings.queue_timeout, turn)
            .await
            .ok_or(SendError::QueueTimeout)
    }

    async fn connect(
        &self,
        slot: Slot<B>,
        permit: Permit,
        wants: Wants,
        from: Header,
        deadline: &Deadline,
    ) -> Result<Lease<B>, SendError> {
        let pool = Rc::clone(slot.pool());
        let server = || pool.server().label().to_string();
        let connecting = pool.connect(slot, permit, wants.only_http1, from);
        let limit = self.spec.settings.connect_timeout;
        let error = match deadline.limit(limit, connecting).await {
            Some(Ok(lease)) => return Ok(lease),
            Some(Err(ConnectError::Refused(source)))
                if source.kind() == std::io::ErrorKind::TimedOut =>
            {
                SendError::ConnectTimeout { server: server() }
            }
            Some(Err(source)) => SendError::Connect {
                server: server(),
                source,
            },
            None => SendError::ConnectTimeout { server: server() },
        };
        pool.avoid();
        Err(error)
    }
}

/// How well a server must be to be chosen.
#[derive(Debug, Clone, Copy)]
enum Rank {
    Well,
    Doubtful,
    Any,
}

/// The head of a request that can be made again. Nearly all copies are thrown away, so the lines are text: to hold on to each
/// name and value of the request would cost two counts shared between cores for each.
struct Copy {
    method: Method,
    uri: Uri,
    version: Version,
    /// Name, value, name, value, each with a line feed behind it, which neither may have in it.
    lines: Vec<u8>,
}

impl Copy {
    /// The request again, or none rather than one that lacks a header.
    fn into_request<B: Default>(self) -> Option<Request<B>> {
        let mut request = Request::new(B::default());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        let headers = request.headers_mut();
        let mut parts = self.lines.split(|&byte| byte == b'\n');
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            let name = HeaderName::from_bytes(name).ok()?;
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
        Some(request)
    }
}

/// Keeps the head of a request that may have to be repeated: without body, and idempotent unless HTTP/2 tells what was
/// not processed. Asked for where a repetition can follow: on a connection that was used before, which the app may close
/// at any moment, be it right after its last answer; over HTTP/2; and where there is another server.
fn keep_copy<B: Body>(request: &Request<B>, http2: bool) -> Option<Copy> {
    let may_repeat = http2 || request.method().is_idempotent();
    (may_repeat && request.body().is_end_stream()).then(|| Copy {
        method: request.method().clone(),
        uri: request.uri().clone(),
        version: request.version(),
        lines: lines(request.headers()),
    })
}

fn lines(headers: &HeaderMap) -> Vec<u8> {
    /// Room for most heads.
    const ROOM: usize = 1024;
    let mut out = Vec::with_capacity(ROOM);
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            out.extend_from_slice(part);
            out.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn a_copy_has_each_line_of_each_header() {
        let mut request = Request::builder()
            .method(Method::DELETE)
            .uri("/a?b=c")
            .version(Version::HTTP_11)
            .header("host", "acme.example.com")
            .header("x-empty", "")
            .header("cookie", "a=b; c=\"d\"")
            .header("x-two", "1")
            .header("x-two", "2\t3")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let bytes: Vec<u8> = (b' '..=0xff).filter(|&byte| byte != 0x7f).collect();
        let any = HeaderValue::from_bytes(&bytes).unwrap();
        request.headers_mut().insert("x-any", any);
        let copy = keep_copy(&request, false).unwrap();
        let again: Request<Empty<Bytes>> = copy.into_request().unwrap();
        assert_eq!(again.headers(), request.headers());
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.version(), request.version());
        *request.method_mut() = Method::POST;
        assert!(keep_copy(&request, false).is_none() && keep_copy(&request, true).is_some());
    }
}
