//! Thousands of hostile HTTP/1.1 messages: none is forwarded unless it has exactly one reading, and no client's bad
//! input is answered with an error of the server's.

mod grammar;
mod judge;
mod sloppy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use self::judge::{App, Message, Record};
use self::sloppy::{Slip, Sloppy};
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};
use crate::support::{port, wait};

/// Connections at once.
const LANES: usize = 32;
/// After so long without an answer the client says that nothing more will come.
const SILENCE: Duration = Duration::from_millis(400);

/// Sends a case and reads to the end of the connection.
async fn send(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    case: &[u8],
    patient: bool,
) -> Vec<u8> {
    let mut answers = Vec::new();
    // A proxy that has refused the beginning may not read the end.
    let _ = stream.write_all(case).await;
    let _ = stream.flush().await;
    if patient {
        loop {
            match tokio::time::timeout(SILENCE, stream.read_buf(&mut answers)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return answers,
                Err(_) => break,
            }
        }
    }
    let _ = stream.shutdown().await;
    let _ = wait::within("the end", stream.read_to_end(&mut answers)).await;
    answers
}

/// The statuses and bodies of answers that all have a length.
fn answers(mut bytes: &[u8]) -> Vec<(u16, String)> {
    let mut all = Vec::new();
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length
            .and_then(|length| length.trim().parse().ok())
            .unwrap_or(0);
        let rest = &bytes[end + 4..];
        let body = rest.get(..length).unwrap_or(rest);
        all.push((status, String::from_utf8_lossy(body).into_owned()));
        bytes = rest.get(length..).unwrap_or_default();
    }
    all
}

/// What the app got that no strict reader finds in the bytes of its client.
fn unsafe_forwards(cases: &[Vec<u8>], record: &Record) -> Vec<String> {
    let mut bad: Vec<String> = record
        .garbage
        .iter()
        .map(|bytes| format!("garbage: {bytes:?}"))
        .collect();
    let mut expected: BTreeMap<usize, Vec<Message>> = BTreeMap::new();
    for message in &record.messages {
        let digits = || {
            message
                .target
                .get(2..7)
                .and_then(|digits| digits.parse().ok())
        };
        let Some(number) = message
            .case
            .or_else(digits)
            .filter(|&number| number < cases.len())
        else {
            bad.push(format!("nobody's: {message:?}"));
            continue;
        };
        let strict = expected
            .entry(number)
            .or_insert_with(|| judge::read_all(&cases[number]));
        let same = |wanted: &Message| {
            let host = wanted.host.split(':').next().unwrap_or_default();
            let host = host.trim_end_matches('.');
            let tenant = match host.strip_suffix(".example.test") {
                None if host == "example.test" => Some("public"),
                label => label,
            };
            wanted.method == message.method
                && wanted.target == message.target
                && wanted.body == message.body
                && message.tenants.len() == 1
                && tenant == message.tenants.first().map(String::as_str)
        };
        match strict.iter().position(same) {
            // Each of them once.
            Some(at) => drop(strict.remove(at)),
            None => bad.push(format!(
                "{message:?} of {:?}",
                String::from_utf8_lossy(&cases[number])
            )),
        }
    }
    bad
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v01_v04_v26_v27_v28_no_hostile_message_is_forwarded() {
    let app = App::start().await;
    let site = Site::before(&[&app.address.to_string()]).start();
    let cases = Arc::new(grammar::corpus());
    assert!(cases.len() >= 3_900, "{}", cases.len());
    let address = port::local(site.portico.https_port());
    let config = site.ca.trust().config(Alpn::Http1);
    let lanes = Arc::new(Semaphore::new(LANES));
    let mut tasks = Vec::new();
    for number in 0..cases.len() {
        let (cases, lanes, config) = (Arc::clone(&cases), Arc::clone(&lanes), config.clone());
        tasks.push(tokio::spawn(async move {
            let _lane = lanes.acquire().await.unwrap();
            let stream = tls::connect(address, "acme.example.test", config)
                .await
                .unwrap();
            send(stream, &cases[number], true).await
        }));
    }
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut whole = 0;
    for (number, task) in tasks.into_iter().enumerate() {
        let got = answers(&task.await.unwrap());
        let strict = judge::read_all(&cases[number]);
        let shown = || String::from_utf8_lossy(&cases[number]).into_owned();
        for (status, _) in &got {
            *statuses.entry(*status).or_default() += 1;
            if *status >= 500 && !(*status == 501 && shown().to_lowercase().contains("ransfer-")) {
                wrong.push(format!("{status} for {:?}", shown()));
            }
        }
        // Answers of the app are in the order of the messages that it was to get.
        let echoes: Vec<&String> = got
            .iter()
            .filter(|(status, _)| *status == 200)
            .map(|(_, body)| body)
            .collect();
        let mut wanted = strict.iter().map(|message| &message.target);
        for echo in &echoes {
            if !echo.is_empty() && !wanted.any(|target| target == *echo) {
                wrong.push(format!("the answer {echo:?} to {:?}", shown()));
            }
        }
        whole += usize::from(!strict.is_empty() && echoes.len() == strict.len());
    }
    let record = app.record.lock().unwrap();
    let bad = unsafe_forwards(&cases, &record);
    eprintln!(
        "{} messages, {} forwarded, {whole} cases answered in whole, {statuses:?}",
        cases.len(),
        record.messages.len()
    );
    let first: Vec<_> = bad.iter().take(20).collect();
    assert!(bad.is_empty(), "{} unsafe forwards: {first:#?}", bad.len());
    let first: Vec<_> = wrong.iter().take(20).collect();
    assert!(
        wrong.is_empty(),
        "{} wrong answers: {first:#?}",
        wrong.len()
    );
    assert!(
        whole > 500,
        "a proxy that refuses everything proves nothing: {whole}"
    );
}

/// Positive control: each mistake is found by the same judge with the same messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v01_the_judge_finds_each_mistake_of_a_sloppy_proxy() {
    let cases = Arc::new(grammar::corpus());
    for slip in Slip::ALL {
        let app = App::start().await;
        let proxy = Sloppy::start(app.address, slip).await;
        let lanes = Arc::new(Semaphore::new(LANES));
        let mut tasks = Vec::new();
        for number in 0..cases.len() {
            let (cases, lanes, address) = (Arc::clone(&cases), Arc::clone(&lanes), proxy.address);
            tasks.push(tokio::spawn(async move {
                let _lane = lanes.acquire().await.unwrap();
                let stream = TcpStream::connect(address).await.unwrap();
                send(stream, &cases[number], false).await
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let record = app.record.lock().unwrap();
        let bad = unsafe_forwards(&cases, &record);
        eprintln!(
            "{slip:?}: {} of {} forwards unsafe",
            bad.len(),
            record.messages.len()
        );
        let first: Vec<_> = bad.iter().take(5).collect();
        assert_eq!(bad.is_empty(), slip == Slip::None, "{slip:?}: {first:#?}");
        assert!(
            bad.len() < record.messages.len(),
            "{slip:?}: the judge finds all bad"
        );
    }
}
