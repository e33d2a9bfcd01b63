//! The units of work: what one tick of each mode does.

use crate::{Error, origin::Page, tls::Dialer};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::future::Future;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::client::TlsStream;

/// Something that can be done again and again, and fails as a whole.
pub(crate) trait Unit: Send + 'static {
    fn once(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A request on a kept-alive HTTP/1.1 connection.
pub(crate) struct H1 {
    sender: http1::SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    page: Page,
}

impl H1 {
    /// The second value ends when the connection does.
    pub(crate) async fn open(
        stream: TlsStream<TcpStream>,
        host: &str,
        page: Page,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let unit = Self {
            sender,
            request: h1_request(host, page)?,
            page,
        };
        Ok((unit, tokio::spawn(async move { drop(connection.await) })))
    }
}

impl Unit for H1 {
    async fn once(&mut self) -> Result<(), Error> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(self.request.clone()).await?;
        read_whole(answer, self.page).await
    }
}

/// A request on one of the streams of an HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct H2 {
    sender: h2::client::SendRequest<Bytes>,
    request: Request<()>,
    page: Page,
}

/// Windows that never stop a proxy.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 24;

impl H2 {
    /// The second value ends when the connection does.
    pub(crate) async fn open(
        stream: TlsStream<TcpStream>,
        host: &str,
        page: Page,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(stream)
            .await?;
        let unit = Self {
            sender,
            request: Request::get(format!("https://{host}{}", page.path))
                .header("user-agent", AGENT)
                .header("accept", "*/*")
                .body(())?,
            page,
        };
        Ok((unit, tokio::spawn(async move { drop(connection.await) })))
    }
}

impl Unit for H2 {
    async fn once(&mut self) -> Result<(), Error> {
        std::future::poll_fn(|context| self.sender.poll_ready(context)).await?;
        let (answer, _) = self.sender.send_request(self.request.clone(), true)?;
        let (head, mut body) = answer.await?.into_parts();
        let mut length = 0;
        while let Some(data) = body.data().await {
            let data = data?;
            length += data.len();
            body.flow_control().release_capacity(data.len())?;
        }
        judge(head.status, length, self.page)
    }
}

/// Connect, full handshake, one request, close.
pub(crate) struct Handshake {
    pub(crate) dialer: Dialer,
    pub(crate) name: ServerName<'static>,
    request: Request<Empty<Bytes>>,
    page: Page,
}

impl Handshake {
    pub(crate) fn new(dialer: Dialer, host: &str, page: Page) -> Result<Self, Error> {
        Ok(Self {
            dialer,
            name: ServerName::try_from(host.to_owned())?,
            request: h1_request(host, page)?,
            page,
        })
    }
}

impl Unit for Handshake {
    async fn once(&mut self) -> Result<(), Error> {
        let stream = self.dialer.dial(self.name.clone()).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(self.request.clone()).await?;
        read_whole(answer, self.page).await?;
        drop(sender); // lets the connection send its close_notify and end
        Ok(connection.await??)
    }
}

const AGENT: &str = "portico-bench";

fn h1_request(host: &str, page: Page) -> Result<Request<Empty<Bytes>>, Error> {
    Ok(Request::get(page.path)
        .header("host", host)
        .header("user-agent", AGENT)
        .header("accept", "*/*")
        .body(Empty::new())?)
}

async fn read_whole(answer: http::Response<Incoming>, page: Page) -> Result<(), Error> {
    let (head, mut body) = answer.into_parts();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    judge(head.status, length, page)
}

fn judge(status: StatusCode, length: usize, page: Page) -> Result<(), Error> {
    if status == StatusCode::OK && length == page.length {
        Ok(())
    } else {
        Err(format!("{} answered {status} with {length} bytes", page.path).into())
    }
}
