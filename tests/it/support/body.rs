//! One body type for clients and origins: whole, with trailers, or sent piece by piece.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// The body of every request and answer in the tests.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body known as a whole: it goes out with a Content-Length.
pub(crate) fn full(data: impl Into<Bytes>) -> Body {
    Full::new(data.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body of unknown length that ends with trailers.
pub(crate) fn with_trailers(data: impl Into<Bytes>, trailers: HeaderMap) -> Body {
    let frames = [Ok(Frame::data(data.into())), Ok(Frame::trailers(trailers))];
    BodyExt::boxed(StreamBody::new(stream::iter(frames)))
}

/// A body of unknown length, fed by the sender: `Ok` a frame, `Err` an abort; dropping it ends the body.
pub(crate) fn channel() -> (mpsc::Sender<io::Result<Frame<Bytes>>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    (sender, BodyExt::boxed(StreamBody::new(Box::pin(frames))))
}
