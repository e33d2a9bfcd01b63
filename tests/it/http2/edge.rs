//! What an edge must refuse or put right in requests of HTTP/2, whatever the library below lets pass. The names are
//! those of the rows of the design.

use crate::support::framer::hpack::Block;
use crate::support::framer::{Framer, Frames, HOST, asking, code, flag, post, request};
use crate::support::origin::{self, Origin};
use crate::support::site::Site;
use crate::support::wait;

/// A stream error of type PROTOCOL_ERROR.
const RESET: &str = "reset 1";
/// The same as an error of the connection: octets that h2 takes for a broken block (RFC 9113 section 5.4.2 allows it).
const ENDS: &str = "closed Some(1)";

struct Bench {
    site: Site,
    origin: Origin,
    framer: Framer,
    stream: u32,
}

impl Bench {
    async fn new() -> Self {
        let origin = Origin::tcp(async |seen: origin::Seen| origin::text(200, seen.target));
        let site = Site::before(&[origin.address()]).start();
        let framer = Framer::open(&site.edge).await;
        Self {
            site,
            origin,
            framer,
            stream: 1,
        }
    }

    /// The verdict on a request without a body.
    async fn verdict(&mut self, block: &Block) -> String {
        let stream = self.stream;
        self.stream += 2;
        self.framer.ask(stream, block).await.verdict()
    }

    /// Every request gets its verdict, only those with 200 reach the app, and the connection lives through all but
    /// those that end it.
    async fn table(mut self, cases: impl IntoIterator<Item = (Block, &'static str)>) -> Self {
        let mut wrong = Vec::new();
        for (block, expected) in cases {
            let before = self.origin.requests().len();
            let verdict = self.verdict(&block).await;
            let reached = self.origin.requests().len() - before;
            if verdict != expected || reached != usize::from(expected == "200") {
                let text = block.0.escape_ascii();
                wrong.push(format!(
                    "{verdict}, not {expected}, {reached} at the app: {text}"
                ));
            }
            if verdict.starts_with("closed") {
                self.framer = Framer::open(&self.site.edge).await;
                self.stream = 1;
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(
            self.verdict(&request()).await,
            "200",
            "the connection lives on"
        );
        self
    }
}

fn with(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Block {
    request().field(name, value)
}

#[tokio::test]
async fn m33_names_and_values_that_are_malformed() {
    let values = [" edge", "edge ", "\tedge", "edge\t", " "];
    let broken = ["a\rb", "a\nb", "a\r\nx-tenant: globex", "a\0b", "\u{7f}"];
    let names = ["X-Upper", "x y", "x\ny", "x:y", "x\0", "", "x\u{e9}", "(x)"];
    let cases = values
        .map(|value| (with("x-test", value), "400"))
        .into_iter();
    let cases = cases.chain(broken.map(|value| (with("x-test", value), ENDS)));
    let cases = cases.chain(names.map(|name| (with(name, "v"), ENDS)));
    let fine = [
        (with("x-test", "in the middle"), "200"),
        (with("x-test", ""), "200"),
        (with("x-test", b"\xe9\xff"), "200"),
    ];
    Bench::new().await.table(cases.chain(fine)).await;
}

#[tokio::test]
async fn m34_headers_of_a_connection() {
    let malformed = [
        ("connection", "close"),
        ("connection", "x-tenant"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, deflate"),
    ];
    let cases = malformed
        .map(|(name, value)| (with(name, value), RESET))
        .into_iter();
    let cases = cases.chain([(with("te", "trailers"), "200")]);
    Bench::new().await.table(cases).await;
}

#[tokio::test]
async fn m35_cookies_in_pieces() {
    let crumbs = |count: usize| {
        (0..count).fold(request(), |block, number| {
            block.field("cookie", format!("c{number}={number}"))
        })
    };
    let mut bench = Bench::new().await;
    assert_eq!(bench.verdict(&crumbs(3)).await, "200");
    let seen = bench.origin.requests().pop().unwrap();
    assert_eq!(seen.one("cookie"), "c0=0; c1=1; c2=2");
    // A hundred lines are a request, one more is not, whatever they become for the app.
    let bench = bench
        .table([(crumbs(100), "200"), (crumbs(101), "431")])
        .await;
    let seen = bench.origin.requests();
    let most = seen
        .iter()
        .map(|seen| seen.all("cookie").concat().matches('=').count())
        .max();
    assert_eq!(most, Some(100));
}

/// A request with these pseudo-headers.
fn asked(scheme: &str, authority: Option<&str>, path: &str) -> Block {
    let block = Block::of(&[(":method", "GET"), (":scheme", scheme), (":path", path)]);
    match authority {
        Some(authority) => block.field(":authority", authority),
        None => block,
    }
}

#[tokio::test]
async fn m36_scheme_path_and_authority() {
    let whole = |authority| asked("https", Some(authority), "/");
    let cases = [
        (asked("http", Some(HOST), "/"), "400"),
        (asked("ftp", Some(HOST), "/"), "400"),
        (asked("javascript", Some(HOST), "/"), "400"),
        (asked("", Some(HOST), "/"), "400"),
        (asked("HTTPS", Some(HOST), "/"), "400"),
        (asked("https", Some(HOST), "*"), "400"),
        (asked("https", Some(HOST), "path"), RESET),
        (
            asked("https", Some(HOST), "https://globex.example.test/"),
            RESET,
        ),
        (asked("https", Some(HOST), "//globex.example.test/"), "200"),
        (whole("user@acme.example.test"), "400"),
        (whole("user:secret@acme.example.test"), "400"),
        (whole("acme.example.test:0"), "400"),
        (whole("acme.example.test:99999"), "400"),
        (whole("acme..example.test"), "400"),
        (whole("acme.example.test."), "200"),
        (whole("ACME.Example.TEST"), "200"),
        (whole("acme.example.test:443"), "200"),
        (whole("acme.example.test:444"), "400"),
        (whole("acme.example.org"), "421"),
        (whole("127.0.0.1"), "421"),
        (asked("https", None, "/"), "400"),
        (asked("https", None, "/").field("host", HOST), "200"),
        (request().field("host", "ACME.example.test"), "200"),
    ];
    let bench = Bench::new().await.table(cases).await;
    for seen in bench.origin.requests() {
        assert_eq!((seen.one("host"), seen.one("x-tenant")), (HOST, "acme"));
    }
    let options = Block::of(&[
        (":method", "OPTIONS"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "*"),
    ]);
    bench.table([(options, "204")]).await;
}

/// A length, the pieces of a body, and the verdict.
type Upload<'u> = (Option<&'u str>, &'u [&'u [u8]], &'u str);

#[tokio::test]
async fn m37_the_length_of_a_body() {
    let mut bench = Bench::new().await;
    let bodies: [Upload<'_>; 9] = [
        (Some("4"), &[b"test"], "200"),
        (Some("8"), &[b"test", b"test"], "200"),
        (None, &[b"test", b""], "200"),
        (Some("0"), &[b""], "200"),
        (Some("5"), &[b"test"], RESET),
        (Some("3"), &[b"test"], RESET),
        (Some("0"), &[b"test"], RESET),
        (Some("-4"), &[b"test"], RESET),
        (Some("4, 4"), &[b"test"], RESET),
    ];
    for (length, pieces, expected) in bodies {
        let stream = bench.stream;
        bench.stream += 2;
        let block = length.map_or_else(post, |length| post().field("content-length", length));
        let (last, first) = pieces.split_last().unwrap();
        let frames = Frames::new().headers(stream, flag::END_HEADERS, &block);
        let frames = first
            .iter()
            .fold(frames, |frames, piece| frames.data(stream, 0, piece));
        bench
            .framer
            .write(frames.data(stream, flag::END_STREAM, last))
            .await;
        let verdict = bench.framer.answer(stream).await.verdict();
        assert_eq!(verdict, expected, "{length:?} {pieces:?}");
    }
    let seen = bench.origin.requests();
    let whole: Vec<_> = seen.iter().filter(|seen| seen.complete).collect();
    assert_eq!(whole.len(), 4, "{seen:#?}");
    for seen in whole {
        // A length that was checked, or chunks: never both, never another.
        match seen.all("content-length")[..] {
            [length] => {
                assert_eq!(length, seen.body_len.to_string());
                assert!(seen.all("transfer-encoding").is_empty());
            }
            _ => assert_eq!(seen.one("transfer-encoding"), "chunked"),
        }
    }
}

#[tokio::test]
async fn m37_half_a_body_is_never_a_whole_one() {
    let mut bench = Bench::new().await;
    // CANCEL and NO_ERROR end a stream no more than any other code.
    for (stream, code) in [
        (1, code::CANCEL),
        (3, code::NO_ERROR),
        (5, code::PROTOCOL_ERROR),
    ] {
        bench
            .framer
            .write(Frames::new().post(stream).data(stream, 0, b"half of it"))
            .await;
        let begun = stream.div_ceil(2) as usize;
        wait::until("the request to reach the app", || {
            (bench.origin.begun() >= begun).then_some(())
        });
        bench.framer.write(Frames::new().reset(stream, code)).await;
    }
    let seen = bench.origin.wait_requests(3);
    assert!(seen.iter().all(|seen| !seen.complete), "{seen:#?}");
    assert_eq!(bench.site.portico.admin("/livez").0, 200);
}

#[tokio::test]
async fn m38_connect_and_its_pseudo_headers() {
    let connect = |fields: &[(&str, &str)]| {
        let all = [&[(":method", "CONNECT")], fields].concat();
        Block::of(&all)
    };
    let authority = (":authority", "acme.example.test:443");
    let cases = [
        (connect(&[authority]), "405"),
        (
            connect(&[(":scheme", "https"), authority, (":path", "/")]),
            RESET,
        ),
        (
            connect(&[
                (":protocol", "connect-ip"),
                (":scheme", "https"),
                authority,
                (":path", "/"),
            ]),
            "501",
        ),
        (connect(&[(":protocol", "websocket"), authority]), RESET),
        (
            connect(&[(":protocol", "websocket"), (":scheme", "https"), authority]),
            RESET,
        ),
        (
            request().raw(&Block::of(&[(":protocol", "websocket")]).0),
            RESET,
        ),
    ];
    Bench::new().await.table(cases).await;
}

#[tokio::test]
async fn m39_one_validator_before_translation() {
    let long = |size: usize| with("x-long", "x".repeat(size));
    let mut cases = vec![
        (asking("GET", &format!("/{}", "p".repeat(8_000))), "200"),
        (asking("GET", &format!("/{}", "p".repeat(9_000))), "414"),
        (asking("get", "/"), "200"),
        (asking(&"M".repeat(33), "/"), "400"),
        (asking("TRACE", "/"), "405"),
        (with("expect", "200-ok"), "417"),
        (long(12_000), "200"),
    ];
    // Beyond `limits.header_size` there is an answer too; far beyond it the connection ends.
    cases.push((
        long(10_000)
            .field("x-more", "x".repeat(5_900))
            .field("x-last", "x".repeat(200)),
        "200",
    ));
    Bench::new().await.table(cases).await;
    let mut bench = Bench::new().await;
    let block = long(16_000 - 200);
    let more = Block::of(&[
        ("x-more", &"x".repeat(16_000)),
        ("x-last", &"x".repeat(4_000)),
    ]);
    let frames = Frames::new()
        .headers(1, flag::END_STREAM, &block)
        .continuation(1, 0, &more.0[..16_000])
        .continuation(1, flag::END_HEADERS, &more.0[16_000..]);
    bench.framer.write(frames).await;
    assert_eq!(bench.framer.answer(1).await.verdict(), "431");
    assert!(bench.origin.requests().is_empty());
}

#[tokio::test]
async fn v05_what_would_split_a_request_of_http1() {
    let smuggled = "/ HTTP/1.1\r\nhost: globex.example.test\r\n\r\nGET /admin";
    let cases = [
        (asking("GET", smuggled), RESET),
        (asking("GET", "/a b"), RESET),
        (asking("GET", "/a\tb"), RESET),
        (asking("GET", "/a\0b"), RESET),
        (asking("GET /admin HTTP/1.1\r\nx:", "/"), ENDS),
        (asking("GE T", "/"), ENDS),
        (asking("", "/"), ENDS),
        (with("x-a\r\nx-tenant", "globex"), ENDS),
        (with("x-a: b\r\nx-tenant", "globex"), ENDS),
        (with("x-a", "b\r\nx-tenant: globex"), ENDS),
        (
            with(
                "x-a",
                "b\r\n\r\nGET /admin HTTP/1.1\r\nhost: globex.example.test",
            ),
            ENDS,
        ),
        (with("transfer-encoding", "chunked"), RESET),
        (with("transfer-encoding", "x"), RESET),
        (with("content-length", "5"), RESET),
        (
            asked("https", Some("acme.example.test\r\nx-tenant: globex"), "/"),
            RESET,
        ),
        (asked("https", Some("acme.example.test/globex"), "/"), RESET),
        (
            asked("https://globex.example.test/?", Some(HOST), "/"),
            RESET,
        ),
    ];
    Bench::new().await.table(cases).await;
}

#[tokio::test]
async fn v06_two_names_for_one_host() {
    let cases = [
        (with("host", "globex.example.test"), "400"),
        (with("host", HOST).field("host", HOST), "400"),
        (
            with("host", HOST).field("host", "globex.example.test"),
            "400",
        ),
        (with("host", ""), "400"),
        (with("host", "user@acme.example.test"), "400"),
        (with("host", "acme.example.test:444"), "400"),
        (asked("https", Some(""), "/").field("host", HOST), RESET),
        (
            asked("https", Some("user@acme.example.test"), "/").field("host", HOST),
            "400",
        ),
        (
            asked("https", None, "/")
                .field("host", HOST)
                .field("host", HOST),
            "400",
        ),
        (
            request().raw(&Block::of(&[(":authority", "globex.example.test")]).0),
            RESET,
        ),
        (with("host", HOST), "200"),
    ];
    Bench::new().await.table(cases).await;
}

#[tokio::test]
async fn v33_a_connect_with_a_body_harms_no_other_stream() {
    let mut bench = Bench::new().await;
    let connect = Block::of(&[
        (":method", "CONNECT"),
        (":authority", "acme.example.test:443"),
    ]);
    bench
        .framer
        .write(Frames::new().post(1).data(1, 0, b"begun"))
        .await;
    for (stream, length) in [(3, "5"), (5, "0"), (7, "18446744073709551615")] {
        let block = connect.clone().field("content-length", length);
        let frames = Frames::new()
            .headers(stream, flag::END_HEADERS, &block)
            .data(stream, 0, b"hello");
        bench.framer.write(frames).await;
        let verdict = bench.framer.answer(stream).await.verdict();
        assert!(
            ["405", RESET, "405, Reset(0)"].contains(&&*verdict),
            "{length}: {verdict}"
        );
    }
    bench
        .framer
        .write(Frames::new().data(1, flag::END_STREAM, b" and ended"))
        .await;
    assert_eq!(bench.framer.answer(1).await.verdict(), "200");
    assert_eq!(bench.origin.only_request().body_len, 15);
}
