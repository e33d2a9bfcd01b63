//! Against made-up servers on 127.0.0.x, which all have one port.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::wait::CONFIRM;
use super::*;
use crate::host::Host;

/// What a server answers to (name, type): with authority or not, answers, authorities.
type Zone = HashMap<(&'static str, RecordType), (bool, Vec<Record>, Vec<Record>)>;

/// A server that notes what it is asked; it ends with the test process.
#[derive(Clone)]
struct Fake {
    zone: Arc<Mutex<Zone>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// Names that it fails for.
    broken: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let fake = Self {
            zone: Arc::default(),
            asked: Arc::default(),
            broken: Arc::default(),
        };
        let own = fake.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((size, from)) = socket.recv_from(&mut buffer) {
                let question = Message::from_vec(buffer.get(..size).unwrap()).unwrap();
                socket
                    .send_to(&own.answer(&question).to_vec().unwrap(), from)
                    .unwrap();
            }
        });
        fake
    }

    fn answer(&self, question: &Message) -> Message {
        let query = question.queries.first().unwrap();
        let name = text(query.name());
        self.asked.lock().unwrap().push(name.clone());
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.add_query(query.clone());
        answer.metadata.authoritative = true;
        answer.metadata.response_code = ResponseCode::NXDomain;
        if self.broken.lock().unwrap().contains(&name) {
            answer.metadata.response_code = ResponseCode::ServFail;
            return answer;
        }
        let zone = self.zone.lock().unwrap();
        let known = zone
            .iter()
            .find(|((owner, kind), _)| *owner == name && *kind == query.query_type());
        if let Some((_, (authoritative, answers, authorities))) = known {
            answer.metadata.authoritative = *authoritative;
            answer.metadata.response_code = ResponseCode::NoError;
            answer.answers.clone_from(answers);
            answer.authorities.clone_from(authorities);
        }
        answer
    }

    fn say(&self, name: &'static str, kind: RecordType, answers: Vec<Record>) {
        self.zone
            .lock()
            .unwrap()
            .insert((name, kind), (true, answers, Vec::new()));
    }

    fn refer(&self, name: &'static str, kind: RecordType, authorities: Vec<Record>) {
        self.zone
            .lock()
            .unwrap()
            .insert((name, kind), (false, Vec::new(), authorities));
    }

    fn asked(&self, name: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|asked| asked == name)
    }
}

fn name(text: &str) -> Name {
    absolute(Name::from_ascii(text).unwrap())
}

fn soa(owner: &str) -> Record {
    let soa = SOA::new(name("ns"), name("host"), 1, 1, 1, 1, 1);
    Record::from_rdata(name(owner), 60, RData::SOA(soa))
}

fn ns(owner: &str, server: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::NS(NS(name(server))))
}

fn a(owner: &str, last: u8) -> Record {
    Record::from_rdata(name(owner), 60, RData::A(A::new(127, 0, 0, last)))
}

fn cname(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
}

fn txt(owner: &str, value: &str) -> Record {
    Record::from_rdata(
        name(owner),
        60,
        RData::TXT(TXT::new(vec![value.to_owned()])),
    )
}

/// A recursor at .11 that knows `zone` with one server at .12 for each of `servers`.
struct Lab {
    port: u16,
    recursor: Fake,
}

impl Lab {
    fn new() -> Self {
        let port = UdpSocket::bind("127.0.0.11:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let recursor = Fake::start(SocketAddr::from(([127, 0, 0, 11], port)));
        Self { port, recursor }
    }

    fn server(&self, last: u8) -> Fake {
        Fake::start(SocketAddr::from(([127, 0, 0, last], self.port)))
    }

    fn zone(&self, zone: &'static str, servers: &[(&'static str, u8)]) {
        self.recursor.say(zone, RecordType::SOA, vec![soa(zone)]);
        self.recursor.say(
            zone,
            RecordType::NS,
            servers.iter().map(|(server, _)| ns(zone, server)).collect(),
        );
        for (server, last) in servers {
            self.recursor
                .say(server, RecordType::A, vec![a(server, *last)]);
        }
    }

    fn propagation(&self) -> Propagation {
        Propagation {
            resolvers: vec![SocketAddr::from(([127, 0, 0, 11], self.port))],
            nameservers: Vec::new(),
            check_resolvers: Vec::new(),
            zone: None,
            floor: Duration::ZERO,
            timeout: Duration::from_secs(2),
            allow_dead: false,
            port: self.port,
        }
    }
}

const RECORD: &str = "_acme-challenge.example.test";

fn domain() -> Host {
    Host::parse("example.test").unwrap()
}

#[tokio::test]
async fn the_recursor_never_hears_the_records_name() {
    let lab = Lab::new();
    lab.zone(
        "example.test",
        &[("ns1.example.test", 12), ("ns2.example.test", 13)],
    );
    let (one, two) = (lab.server(12), lab.server(13));
    let place = lab.propagation().locate(&domain()).await.unwrap();
    assert_eq!(
        (place.fqdn().as_str(), place.zone().as_deref()),
        (RECORD, Some("example.test"))
    );
    let values = ["v1".to_owned()];
    one.say(RECORD, RecordType::TXT, vec![txt(RECORD, "v1")]);
    let error = lab
        .propagation()
        .wait(&place, &values)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("ns2.example.test (127.0.0.13:") && !error.contains("ns1"),
        "{error}"
    );
    two.say(
        RECORD,
        RecordType::TXT,
        vec![txt(RECORD, "foreign"), txt(RECORD, "v1")],
    );
    let waited = lab.propagation().wait(&place, &values).await.unwrap();
    assert!(waited >= CONFIRM, "one good round is not enough");
    assert!(one.asked(RECORD) && !lab.recursor.asked(RECORD));
}

#[tokio::test]
async fn follows_a_delegation_at_the_parents_servers() {
    let lab = Lab::new();
    lab.zone("example.test", &[("ns1.example.test", 14)]);
    lab.recursor.say(
        "edge.example.test",
        RecordType::A,
        vec![a("edge.example.test", 15)],
    );
    let parent = lab.server(14);
    parent.refer(
        RECORD,
        RecordType::TXT,
        vec![ns(RECORD, "edge.example.test")],
    );
    let child = lab.server(15);
    let place = lab.propagation().locate(&domain()).await.unwrap();
    assert_eq!(place.delegated_zone().as_deref(), Some(RECORD));
    child.say(RECORD, RecordType::TXT, vec![txt(RECORD, "v")]);
    lab.propagation()
        .wait(&place, &["v".to_owned()])
        .await
        .unwrap();
}

#[tokio::test]
async fn follows_a_cname_into_another_zone_and_refuses_a_circle() {
    const TARGET: &str = "x.auth.test";
    let lab = Lab::new();
    lab.zone("example.test", &[("ns1.example.test", 16)]);
    lab.zone("auth.test", &[("ns1.auth.test", 17)]);
    let (first, second) = (lab.server(16), lab.server(17));
    first.say(RECORD, RecordType::TXT, vec![cname(RECORD, TARGET)]);
    let place = lab.propagation().locate(&domain()).await.unwrap();
    assert_eq!(
        (place.fqdn().as_str(), place.zone().as_deref()),
        (TARGET, Some("auth.test"))
    );
    assert!(
        !lab.recursor.asked(TARGET),
        "the target is a record to come, too"
    );
    second.say(TARGET, RecordType::TXT, vec![cname(TARGET, RECORD)]);
    let error = lab.propagation().locate(&domain()).await.unwrap_err();
    assert!(matches!(error, PropagationError::Loop(_)), "{error}");
}

#[tokio::test]
async fn an_answer_without_authority_or_from_a_lame_server_does_not_count() {
    let lab = Lab::new();
    lab.zone("example.test", &[("ns1.example.test", 18)]);
    let server = lab.server(18);
    let place = lab.propagation().locate(&domain()).await.unwrap();
    server.zone.lock().unwrap().insert(
        (RECORD, RecordType::TXT),
        (false, vec![txt(RECORD, "v")], Vec::new()),
    );
    let error = lab
        .propagation()
        .wait(&place, &["v".to_owned()])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("without authority"), "{error}");
}

#[tokio::test]
async fn a_recursor_that_fails_does_not_lead_to_the_zone_above() {
    let lab = Lab::new();
    lab.zone("test", &[("ns1.test", 19)]);
    lab.recursor
        .broken
        .lock()
        .unwrap()
        .push("example.test".to_owned());
    let error = lab.propagation().locate(&domain()).await.unwrap_err();
    assert!(
        error.to_string().contains("`example.test`: 127.0.0.11:"),
        "{error}"
    );
}

#[tokio::test]
async fn a_domain_without_a_zone_is_an_error_with_a_hint() {
    let lab = Lab::new();
    let error = lab
        .propagation()
        .locate(&domain())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot find the DNS zone") && error.contains("hint: set `zone`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_value_is_gone_when_no_server_has_it_and_each_says_so() {
    let lab = Lab::new();
    lab.zone(
        "example.test",
        &[("ns1.example.test", 20), ("ns2.example.test", 21)],
    );
    let (one, two) = (lab.server(20), lab.server(21));
    let remains = async |propagation: Propagation| {
        let found = propagation.remains(RECORD, &["gone", "there"], Duration::ZERO);
        found.await
    };
    one.say(RECORD, RecordType::TXT, vec![txt(RECORD, "foreign")]);
    two.say(
        RECORD,
        RecordType::TXT,
        vec![txt(RECORD, "foreign"), txt(RECORD, "there")],
    );
    let found = remains(lab.propagation()).await;
    let [gone, there] = found.try_into().unwrap();
    let there = there.unwrap();
    assert_eq!(gone, None);
    assert!(
        there.starts_with("ns2.example.test (127.0.0.21:") && !there.contains("ns1"),
        "{there}"
    );

    two.broken.lock().unwrap().push(RECORD.to_owned());
    for reason in remains(lab.propagation()).await {
        let reason = reason.unwrap();
        assert!(reason.contains("ns2.example.test"), "{reason}");
    }
    let lenient = Propagation {
        allow_dead: true,
        ..lab.propagation()
    };
    assert_eq!(
        remains(lenient).await,
        [None, None],
        "the other one has not"
    );

    two.broken.lock().unwrap().clear();
    let before = two.asked.lock().unwrap().len();
    let patient = lab.propagation();
    let removed = async {
        // After the first look, which the one that locates the record may precede.
        while two.asked.lock().unwrap().len() < before + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        two.say(RECORD, RecordType::TXT, Vec::new());
    };
    let found = patient.remains(RECORD, &["there"], Duration::from_secs(20));
    let (found, ()) = tokio::join!(found, removed);
    assert_eq!(found, [None], "a server may need a moment");

    lab.recursor
        .broken
        .lock()
        .unwrap()
        .push("example.test".to_owned());
    assert!(remains(lab.propagation()).await.iter().all(Option::is_some));
}

#[tokio::test]
async fn check_resolvers_are_asked_last_and_never_decide_alone() {
    let lab = Lab::new();
    lab.zone("example.test", &[("ns1.example.test", 22)]);
    let (server, resolver) = (lab.server(22), lab.server(23));
    let propagation = Propagation {
        check_resolvers: vec![SocketAddr::from(([127, 0, 0, 23], lab.port))],
        ..lab.propagation()
    };
    let values = ["v".to_owned()];
    let place = propagation.locate(&domain()).await.unwrap();

    resolver.say(RECORD, RecordType::TXT, vec![txt(RECORD, "v")]);
    let error = propagation.wait(&place, &values).await.unwrap_err();
    assert!(error.to_string().contains("ns1.example.test"), "{error}");
    assert!(!resolver.asked(RECORD), "it would remember what it hears");

    server.say(RECORD, RecordType::TXT, vec![txt(RECORD, "v")]);
    propagation.wait(&place, &values).await.unwrap();
    assert!(resolver.asked(RECORD));

    resolver.say(RECORD, RecordType::TXT, vec![txt(RECORD, "old")]);
    let error = propagation
        .wait(&place, &values)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("resolver 127.0.0.23 (127.0.0.23:")
            && error.contains("1 of 1 values missing: `v`")
            && error.contains("`check_resolvers`"),
        "{error}"
    );
    assert!(!error.contains("ns1"), "{error}");

    // Nobody is there: what all name servers say is enough.
    let deaf = Propagation {
        check_resolvers: vec![SocketAddr::from(([127, 0, 0, 24], lab.port))],
        ..lab.propagation()
    };
    deaf.wait(&place, &values).await.unwrap();
}
