//! The hostile messages: `@@@@@` in them becomes the number of the case.

/// A request that is part of other messages' bodies: no strict reader takes it for one.
const SMUGGLED: &str = "GET /s@@@@@ HTTP/1.1\r\nHost: globex.example.test\r\nX-Case: @@@@@\r\n\r\n";

const LENGTHS: &[&str] = &[
    "",
    "Content-Length: 0\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 6\r\n",
    "Content-Length: 94\r\n",
    "Content-Length: 0005\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: -5\r\n",
    "Content-Length: 5,5\r\n",
    "Content-Length: 5, 6\r\n",
    "Content-Length: 5 \r\n",
    "Content-Length:5\r\n",
    "Content-Length: 0x5\r\n",
    "Content-Length: 5.0\r\n",
    "Content-Length: \r\n",
    "Content-Length: 18446744073709551621\r\n",
    "Content-Length : 5\r\n",
    "Content-Length\t: 5\r\n",
    " Content-Length: 5\r\n",
    "Content-Length: 5\n",
    "Content-Length:\x0b5\r\n",
    "Content_Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 0\r\n",
    "X: y\rContent-Length: 5\r\n",
    "Content-Length: 5\r\n 0\r\n",
    "CONTENT-LENGTH: 5\r\n",
    "Content-Length: 5;\r\n",
    "Content-Length: 1e1\r\n",
    "\0Content-Length: 5\r\n",
];

const CODINGS: &[&str] = &[
    "",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: CHUNKED\r\n",
    "Transfer-Encoding:chunked\r\n",
    "Transfer-Encoding: chunked \r\n",
    "Transfer-Encoding:\tchunked\r\n",
    "Transfer-Encoding: chunked\t\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding\t: chunked\r\n",
    " Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Transfer-Encoding: \x0bchunked\r\n",
    "Transfer-Encoding: chunked\x0c\r\n",
    "Transfer-Encoding: chunked\n",
    "Transfer-Encoding:\nchunked\r\n",
    "\nTransfer-Encoding: chunked\r\n",
    "X: y\nTransfer-Encoding: chunked\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: chunkedx\r\n",
    "Transfer-Encoding: cow\r\n",
    "Transfer-Encoding: cow, chunked\r\n",
    "Transfer-Encoding: chunked, cow\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: ,chunked\r\n",
    "Transfer-Encoding: chunked,\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding: 'chunked'\r\n",
    "Transfer-Encoding: chunked;a=b\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n",
    "Transfer_Encoding: chunked\r\n",
    "Transfer-Encoding: \r\n",
    "Transfer-Encoding: chun\0ked\r\n",
    "Transfer-Encoding\0: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "X-Transfer-Encoding: chunked\r\n",
    "Transfer-\r\nEncoding: chunked\r\n",
    "TE: chunked\r\n",
    "Transfer-Encoding: chunked\x7f\r\n",
    "Transfer-Encoding: chunke\u{212a}d\r\n",
];

/// `@` marks where a byte is put in, every one of the 256.
const PLACES: &[&str] = &[
    "PO^ST /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nContent-Length: 0\r\n\r\n",
    "GET ^/c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\n\r\n",
    "GET /c@@@@@^a HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\n\r\n",
    "GET /c@@@@@?a^ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\n\r\n",
    "GET /c@@@@@ HTTP/1.1^\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\n\r\n",
    "GET /c@@@@@ HTTP/1.1\r\nHost: acme^.example.test\r\nX-Case: @@@@@\r\n\r\n",
    "GET /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nX-^Tenant: globex\r\n\r\n",
    "GET /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nX-Tenant^: globex\r\n\r\n",
    "GET /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\n^X-Tenant: globex\r\n\r\n",
    "GET /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nX: a^X-Tenant: globex\r\n\r\n",
    "GET /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nX: a\r^\nX: b\r\n\r\n",
    "POST /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nContent-Length: ^5\r\n\r\nhello",
    "POST /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nTransfer-Encoding: chunked\r\n\r\n5^\r\nhello\r\n0\r\n\r\n",
    "POST /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nTransfer-Encoding: chunked\r\n\r\n5;a^\r\nhello\r\n0\r\n\r\n",
    "POST /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello^\r\n0\r\n\r\n",
    "POST /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-^Y: z\r\n\r\n",
];

const CHUNKS: &[&str] = &[
    "5\r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "05\r\nhello\r\n0\r\n\r\n",
    "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "5\r\nhelloo\r\n0\r\n\r\n",
    "5\r\nhell\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-Tenant: globex\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\nX-Tenant: globex\r\n\r\n",
    "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
    "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "5\r\nhello\r\n0\r\nHost: globex.example.test\r\n\r\n",
    "5\r\nhello\r\n00\r\n\r\n",
    "5\r\nhello\r\n0;x\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5;;\r\nhello\r\n0\r\n\r\n",
    "5\r\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\r\n0\r\n\r\n",
    "5\0\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r",
    "5\r\nhello\r\n0\r\n",
    "5\r\nhello\r\n",
    "5\r\nhel",
    "5",
    "",
    "0\r\n\r\n",
    "0\r\nContent-Length: 5\r\n\r\n",
    "5;a=\"b\r\nhello\r\n0\r\n\r\n",
    "5,5\r\nhello\r\n0\r\n\r\n",
    "5h\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0_0\r\n\r\n",
];

const LINES: &[&str] = &[
    "GET /c@@@@@ HTTP/1.1",
    "GET  /c@@@@@ HTTP/1.1",
    "GET /c@@@@@  HTTP/1.1",
    "GET\t/c@@@@@ HTTP/1.1",
    " GET /c@@@@@ HTTP/1.1",
    "GET /c@@@@@ HTTP/1.1 ",
    "GET /c@@@@@ HTTP/1.0",
    "GET /c@@@@@ HTTP/1.2",
    "GET /c@@@@@ HTTP/2.0",
    "GET /c@@@@@ HTTP/0.9",
    "GET /c@@@@@ HTTP/11",
    "GET /c@@@@@ http/1.1",
    "GET /c@@@@@ HTTP/1.1x",
    "GET /c@@@@@",
    "GET",
    "GET c@@@@@ HTTP/1.1",
    "GET https://acme.example.test/c@@@@@ HTTP/1.1",
    "GET https://globex.example.test/c@@@@@ HTTP/1.1",
    "GET http://acme.example.test/c@@@@@ HTTP/1.1",
    "GET ftp://acme.example.test/c@@@@@ HTTP/1.1",
    "GET https://u@acme.example.test/c@@@@@ HTTP/1.1",
    "GET //globex.example.test/c@@@@@ HTTP/1.1",
    "GET acme.example.test:443 HTTP/1.1",
    "GET * HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "CONNECT acme.example.test:443 HTTP/1.1",
    "CONNECT /c@@@@@ HTTP/1.1",
    "TRACE /c@@@@@ HTTP/1.1",
    "G@T /c@@@@@ HTTP/1.1",
    "GET /c@@@@@#x HTTP/1.1",
    "GET /c@@@@@?a b HTTP/1.1",
    "GET /c@@@@@/../../x HTTP/1.1",
    "GET /c@@@@@\\x HTTP/1.1",
    "GET /c@@@@@%00 HTTP/1.1",
    "GET /c@@@@@/\u{e9} HTTP/1.1",
    "GET /c@@@@@ HTTP/1.1\r\n",
    "GET /c@@@@@ HTTP/1.1, HTTP/1.1",
    "get /c@@@@@ HTTP/1.1",
    "PRI * HTTP/2.0\r\n\r\nSM",
    "POST /c@@@@@ HTTP/1.1",
    "PUT /c@@@@@ HTTP/1.1",
    "DELETE /c@@@@@ HTTP/1.1",
];

const HOSTS: &[&str] = &[
    "Host: acme.example.test",
    "Host: ACME.example.test",
    "Host: acme.example.test.",
    "Host: acme.example.test:443",
    "Host: acme.example.test:80",
    "Host: acme.example.test:",
    "Host: acme.example.test:0443",
    "Host: acme.example.test..",
    "Host: u@acme.example.test",
    "Host: acme.example.test@globex.example.test",
    "Host: acme.example.test/x",
    "Host: acme.example.test?x",
    "Host: acme.example.test#x",
    "Host: acme.example.test\\x",
    "Host: acme.example.test, globex.example.test",
    "Host: acme.example.test globex.example.test",
    "Host: acme.example.test\tglobex.example.test",
    "Host: acme%2eexample.test",
    "Host: \u{ff41}cme.example.test",
    "Host: ac\u{200d}me.example.test",
    "Host: [::1]",
    "Host: 127.0.0.1",
    "Host: localhost",
    "Host:",
    "Host: ",
    "X: y",
    "Host : acme.example.test",
    "Host\t: acme.example.test",
    " Host: acme.example.test",
    "Host: acme.example.test\r\nHost: globex.example.test",
    "Host: acme.example.test\r\nHost: acme.example.test",
    "Host: acme.example.test\r\nhost: globex.example.test",
    "Host: acme.example.test\r\n Host: globex.example.test",
    "Host: acme.example.test\nHost: globex.example.test",
    "Host: acme.example.test\rHost: globex.example.test",
    "X: y\r\n Host: acme.example.test",
    "Host:\r\n acme.example.test",
    "Host: -acme.example.test",
    "Host: a_b.example.test",
    "Host: acme.example.test\0",
    "Host: acme.example.test\0.globex.example.test",
    "X-Host: a\r\nHost: acme.example.test",
    "Host: *.example.test",
    "Host: acme..example.test",
    "Host: .example.test",
    "Host: example.test",
    "Host: xn--acme.example.test",
];

/// What may stand where CR LF should.
const ENDS: &[&str] = &[
    "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\n\n", "\r\n\n", "\r\n\r", "\0\r\n", "\x0b\r\n",
    "\x0c\r\n", " \r\n", "\t\r\n", "\r\n ", "\r\n\t", "\r \n", "\r\0\n", "\u{85}", "\u{2028}",
    "\r\n\r\n",
];

/// All cases, each followed by one more request that asks for the end of the connection.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = Vec::new();
    let mut add = |case: String| cases.push(case.into_bytes());
    let head = |line: &str, host: &str, rest: &str| {
        format!("{line}\r\n{host}\r\nX-Case: @@@@@\r\n{rest}\r\n")
    };
    let (post, host) = ("POST /c@@@@@ HTTP/1.1", "Host: acme.example.test");
    for length in LENGTHS {
        for coding in CODINGS {
            add(head(post, host, &format!("{length}{coding}")) + "0\r\n\r\n" + SMUGGLED);
            if !length.is_empty() && !coding.is_empty() {
                add(head(post, host, &format!("{coding}{length}"))
                    + "5\r\nhello\r\n0\r\n\r\n"
                    + SMUGGLED);
            }
        }
        add(head("POST /c@@@@@ HTTP/1.0", host, length) + "hello" + SMUGGLED);
        add(head("GET /c@@@@@ HTTP/1.1", host, length) + SMUGGLED);
    }
    for coding in CODINGS {
        add(head("POST /c@@@@@ HTTP/1.0", host, coding) + "0\r\n\r\n" + SMUGGLED);
        add(head("GET /c@@@@@ HTTP/1.1", host, coding) + "0\r\n\r\n" + SMUGGLED);
    }
    for chunks in CHUNKS {
        for more in [
            "",
            "Trailer: X-Tenant\r\n",
            "Connection: keep-alive\r\n",
            "Expect: x\r\n",
        ] {
            let rest = format!("Transfer-Encoding: chunked\r\n{more}");
            add(head(post, host, &rest) + chunks + SMUGGLED);
        }
    }
    for line in LINES {
        for rest in [
            "",
            "Content-Length: 0\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            "Upgrade: h2c\r\n",
        ] {
            add(head(line, host, rest));
        }
    }
    for host in HOSTS {
        for line in [
            "GET /c@@@@@ HTTP/1.1",
            "GET https://acme.example.test/c@@@@@ HTTP/1.1",
        ] {
            add(head(line, host, ""));
        }
    }
    for end in ENDS {
        for place in 0..4 {
            let mut ends = ["\r\n"; 4];
            ends[place] = end;
            let [a, b, c, d] = ends;
            add(format!(
                "GET /c@@@@@ HTTP/1.1{a}Host: acme.example.test{b}X-Case: @@@@@{c}{d}"
            ));
            add(format!(
                "POST /c@@@@@ HTTP/1.1{a}Host: acme.example.test{b}X-Case: @@@@@{c}Content-Length: 5{d}\r\nhello"
            ));
        }
        add(format!(
            "{end}GET /c@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\n\r\n"
        ));
    }
    for place in PLACES {
        let (before, after) = place.split_once('^').expect("a mark");
        for byte in 0..=u8::MAX {
            cases.push([before.as_bytes(), &[byte], after.as_bytes()].concat());
        }
    }
    let last = "GET /l@@@@@ HTTP/1.1\r\nHost: acme.example.test\r\nX-Case: @@@@@\r\nConnection: close\r\n\r\n";
    let number = |(number, case): (usize, Vec<u8>)| {
        let mut case = [case, last.as_bytes().to_vec()].concat();
        let digits = format!("{number:05}");
        while let Some(at) = case.windows(5).position(|five| five == b"@@@@@") {
            case[at..at + 5].copy_from_slice(digits.as_bytes());
        }
        case
    };
    cases.into_iter().enumerate().map(number).collect()
}
