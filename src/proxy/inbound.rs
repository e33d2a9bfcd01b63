//! The body of a request as it comes from a client, whatever the protocol.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::body::BodyError;

/// Most lines of trailers, as of a head.
const MOST_TRAILERS: usize = 100;
/// Most bytes of trailers as RFC 9113 §6.5.2 counts them; hyper holds those of HTTP/1.1 to as many.
const LARGEST_TRAILERS: usize = 16 << 10;

/// A body that is being received.
#[derive(Debug)]
pub enum Inbound {
    /// By HTTP/1.1.
    Http1(Incoming),
    /// By HTTP/2.
    Http2(Http2Body),
}

/// What one stream of HTTP/2 brings.
///
/// A stream that the client resets is broken, whatever its reason: to read `CANCEL` as an end would hand half a body
/// to the app as a whole one.
#[derive(Debug)]
pub struct Http2Body {
    stream: h2::RecvStream,
    /// What `content-length` says is still to come; h2 has checked that it is a number and counts along.
    left: Option<u64>,
    data_over: bool,
    largest_trailers: usize,
}

impl Http2Body {
    /// The body of the request with these headers. `largest_head` is from where on h2 leaves out fields.
    #[must_use]
    pub fn new(stream: h2::RecvStream, headers: &HeaderMap, largest_head: usize) -> Self {
        let left = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        Self {
            stream,
            left,
            data_over: false,
            largest_trailers: LARGEST_TRAILERS.min(largest_head / 2),
        }
    }

    /// The stream itself, for a tunnel.
    pub fn into_stream(self) -> h2::RecvStream {
        self.stream
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.data_over {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Whoever asks for the next piece has room for it: the client may send as much again.
                    drop(self.stream.flow_control().release_capacity(data.len()));
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Reset(error)))),
                None => self.data_over = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) if too_large(&trailers, self.largest_trailers) => {
                Poll::Ready(Some(Err(BodyError::Trailers)))
            }
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(BodyError::Reset(error)))),
        }
    }
}

/// h2 leaves out what goes beyond the size of a head, without a word, so trailers that come near it are refused: half of
/// them may be missing. A single field of half that size is noticed in its frame, and ends the connection.
fn too_large(trailers: &HeaderMap, most: usize) -> bool {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    trailers.len() > MOST_TRAILERS || trailers.iter().map(size).sum::<usize>() > most
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Http1(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BodyError::Broken))),
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) if body.stream.is_end_stream() => SizeHint::with_exact(0),
            Self::Http2(body) => body
                .left
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
