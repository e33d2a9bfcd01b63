//! An answer, as it is handed on: when there is something of its body to hand on.
//!
//! A server that is killed between the head and the body of an answer has answered nothing; gunicorn writes the two one after
//! the other. As long as the client has seen nothing either, an idempotent request can go to another server
//! (RFC 9110 §9.2.2). So where that is possible and the length of a body is known, its head waits for the first bytes, for
//! a second at most. What streams (no length: events, long polls) is never held back.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::lease::Lease;
use crate::net::deadline::Deadline;

/// Longest wait of a head for its body. A server that takes longer between the two is at work, not killed.
const LONGEST: Duration = Duration::from_secs(1);

/// A response head with the connection it came on.
#[derive(Debug)]
pub struct Answer<B> {
    /// The response; its body streams.
    pub response: Response<AnswerBody>,
    /// To be given back when request and response are through.
    pub lease: Lease<B>,
}

/// The body of an answer.
#[derive(Debug)]
pub struct AnswerBody {
    /// What came before the head was handed on. Boxed: it is rare, and an answer is handed on a few times.
    first: Option<Box<Frame<Bytes>>>,
    rest: Incoming,
}

impl AnswerBody {
    /// A body of which nothing was awaited.
    pub(super) fn untouched(rest: Incoming) -> Self {
        Self { first: None, rest }
    }

    /// A body of which something has come, if it has a length and not [`LONGEST`] passed before.
    ///
    /// # Errors
    /// It ended before.
    pub(super) async fn begun(mut rest: Incoming, deadline: &Deadline) -> hyper::Result<Self> {
        let has_length = rest.size_hint().exact().is_some_and(|length| length > 0);
        let first = if has_length {
            let frame = deadline.limit(LONGEST, rest.frame()).await;
            frame.flatten().transpose()?.map(Box::new)
        } else {
            None
        };
        Ok(Self { first, rest })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(*first))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.rest.size_hint();
        let held = self.first.as_deref().and_then(Frame::data_ref);
        let held = held.map_or(0, |data| data.len() as u64);
        match hint.exact() {
            Some(rest) => hint.set_exact(rest.saturating_add(held)),
            None => hint.set_lower(hint.lower().saturating_add(held)),
        }
        hint
    }
}
