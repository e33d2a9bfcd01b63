//! Asks one name server directly, over TCP as certificate authorities do: no cache, no resolver in between.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use super::wait;

/// The answer of `server` for `name` and `kind`; panics when it does not answer.
pub(crate) fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    try_ask(server, name, kind).unwrap_or_else(|error| panic!("{server} does not answer: {error}"))
}

/// The TXT values of `name` at `server`, sorted; none when the name does not exist.
pub(crate) fn txt(server: SocketAddr, name: &str) -> Vec<String> {
    let answer = ask(server, name, RecordType::TXT);
    let values = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        });
    let mut values: Vec<String> = values.collect();
    values.sort();
    values
}

/// Does `server` answer with authority for `zone`? The readiness of a name server.
pub(crate) fn serves(server: SocketAddr, zone: &str) -> bool {
    try_ask(server, zone, RecordType::SOA)
        .is_ok_and(|answer| answer.metadata.authoritative && !answer.answers.is_empty())
}

/// Does a recursor find `zone`?
pub(crate) fn resolves(recursor: SocketAddr, zone: &str) -> bool {
    try_ask(recursor, zone, RecordType::SOA).is_ok_and(|answer| !answer.answers.is_empty())
}

fn try_ask(server: SocketAddr, name: &str, kind: RecordType) -> std::io::Result<Message> {
    let mut name: Name = name.parse().expect("a domain name");
    name.set_fqdn(true);
    let mut query = Message::query();
    query.metadata.recursion_desired = true; // recursors refuse questions to their cache alone
    query.add_query(Query::query(name, kind));
    let query = query.to_vec().expect("a query fits");
    let length = u16::try_from(query.len()).expect("a query is short");

    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(wait::DEADLINE))?;
    stream.write_all(&[&length.to_be_bytes()[..], &query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Message::from_vec(&answer).map_err(std::io::Error::other)
}
