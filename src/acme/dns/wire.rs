//! One DNS question to one server.
//!
//! UDP first, TCP when the answer is cut or does not come. No cache, no search list, no retry over servers: the
//! callers ask particular servers on purpose. An answer must come from the server asked, with the number and the
//! question that were sent. For updates, [`connect`] finds the address of a server that takes a connection.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query};
use hickory_proto::rr::{Name, RecordType};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::net::dial::{self, DialError};

/// For an answer over UDP, and for each step over TCP.
const PATIENCE: Duration = Duration::from_secs(3);
/// Largest answer over UDP (DNS flag day 2020).
const UDP_SIZE: u16 = 1232;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum WireError {
    #[error("{server} does not answer")]
    Silent { server: SocketAddr },
    #[error("{server}: {error}")]
    Io {
        server: SocketAddr,
        error: std::io::Error,
    },
    #[error(transparent)]
    Unreached(#[from] DialError),
    #[error("{server} gave an unreadable answer: {reason}")]
    Garbled { server: SocketAddr, reason: String },
    #[error("the question cannot be written: {0}")]
    Question(#[from] hickory_proto::ProtoError),
}

/// Who is asked, and so which flags the question carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Answers only what it is authoritative for.
    Authority,
    /// Finds out.
    Recursor,
}

/// Asks one server one question.
pub(crate) async fn ask(
    server: SocketAddr,
    role: Role,
    name: &Name,
    kind: RecordType,
) -> Result<Message, WireError> {
    let mut question = Message::query();
    question.metadata.recursion_desired = role == Role::Recursor;
    question.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_SIZE);
    question.set_edns(edns);
    let bytes = question.to_vec()?;
    match udp(server, &bytes, &question).await {
        Ok(answer) if !answer.metadata.truncation => Ok(answer),
        Ok(_) => read(server, &question, &exchange_tcp(server, &bytes).await?),
        // A server that is not there says so over TCP as well, and more clearly.
        Err(_) => read(server, &question, &exchange_tcp(server, &bytes).await?),
    }
}

async fn udp(server: SocketAddr, bytes: &[u8], question: &Message) -> Result<Message, WireError> {
    let failed = |error| WireError::Io { server, error };
    let any: SocketAddr = if server.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(bytes).await.map_err(failed)?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let wait = async {
        loop {
            let size = socket.recv(&mut buffer).await.map_err(failed)?;
            // Somebody else's answer, or one to an older question: the right one may still come.
            if let Ok(answer) = read(server, question, buffer.get(..size).unwrap_or_default()) {
                return Ok(answer);
            }
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or(Err(WireError::Silent { server }))
}

/// Sends a message over TCP and gives back the bytes of the answer, unchecked.
pub(crate) async fn exchange_tcp(server: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    let failed = |error| WireError::Io { server, error };
    let exchange = async {
        let stream = TcpStream::connect(server).await.map_err(failed)?;
        exchange_over(server, stream, bytes).await
    };
    timeout(PATIENCE * 2, exchange)
        .await
        .unwrap_or(Err(WireError::Silent { server }))
}

/// A connection to the first of a server's addresses that takes one. Nothing is sent.
pub(crate) async fn connect(
    addresses: &[SocketAddr],
) -> Result<(SocketAddr, TcpStream), WireError> {
    let connected = dial::first(addresses, PATIENCE * 2, |address| async move {
        let stream = TcpStream::connect(address).await;
        stream.map(|stream| (address, stream))
    });
    Ok(connected.await?)
}

/// As [`exchange_tcp`], over a connection that there is.
pub(crate) async fn exchange_over(
    server: SocketAddr,
    mut stream: TcpStream,
    bytes: &[u8],
) -> Result<Vec<u8>, WireError> {
    let failed = |error| WireError::Io { server, error };
    let length = u16::try_from(bytes.len()).map_err(|error| WireError::Garbled {
        server,
        reason: error.to_string(),
    })?;
    let exchange = async {
        let mut framed = Vec::with_capacity(bytes.len() + 2);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(bytes);
        stream.write_all(&framed).await.map_err(failed)?;
        let size = stream.read_u16().await.map_err(failed)?;
        let mut answer = vec![0; usize::from(size)];
        stream.read_exact(&mut answer).await.map_err(failed)?;
        Ok(answer)
    };
    timeout(PATIENCE * 2, exchange)
        .await
        .unwrap_or(Err(WireError::Silent { server }))
}

fn read(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, WireError> {
    let garbled = |reason: String| WireError::Garbled { server, reason };
    let answer = Message::from_vec(bytes).map_err(|error| garbled(error.to_string()))?;
    let fits = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && (answer.queries.is_empty() || answer.queries == question.queries);
    if fits {
        Ok(answer)
    } else {
        Err(garbled("not the answer to our question".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn the_address_that_takes_a_connection_gets_the_message_once() {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        // Bound and not listening: it refuses, and nobody else gets the port.
        let closed = TcpSocket::new_v4().unwrap();
        closed.bind(here).unwrap();
        let listener = TcpListener::bind(here).await.unwrap();
        let dead = closed.local_addr().unwrap();
        let alive = listener.local_addr().unwrap();
        let ask = async {
            let (server, stream) = connect(&[dead, alive]).await.unwrap();
            assert_eq!(server, alive);
            exchange_over(server, stream, b"update").await.unwrap()
        };
        let answer = async {
            let (mut stream, _peer) = listener.accept().await.unwrap();
            let mut framed = [0; 8];
            stream.read_exact(&mut framed).await.unwrap();
            assert_eq!(&framed, b"\0\x06update");
            stream.write_all(b"\0\x04done").await.unwrap();
            let more = stream.read(&mut framed).await.unwrap();
            assert_eq!(more, 0, "one message, then the end");
        };
        assert_eq!(tokio::join!(ask, answer).0, b"done");
        let error = connect(&[dead]).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{dead}: ")), "{error}");
    }
}
