//! Headers of both versions, good, bad and cut off.

use proptest::prelude::*;

use super::*;

fn done(bytes: &[u8]) -> Option<(Header, usize)> {
    match parse(bytes) {
        Ok(Parsed::Done { header, length }) => Some((header, length)),
        Ok(Parsed::Partial) | Err(_) => None,
    }
}

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let size = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &size, payload].concat()
}

const TCP4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 1, 0xbb];

#[test]
fn both_versions_name_the_client() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\nGET /";
    let header = proxied("192.0.2.1:12345", "198.51.100.2:443");
    assert_eq!(done(line), Some((header, line.len() - 5)));
    assert_eq!(done(&v2(0x21, 0x11, &TCP4)), Some((header, 28)));
    let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n";
    let header = proxied("[2001:db8::1]:1", "[2001:db8::2]:65535");
    assert_eq!(done(line), Some((header, line.len())));
    let mut payload = Vec::new();
    for last in [1, 2] {
        payload.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    payload.extend([0, 1, 0xff, 0xff]);
    assert_eq!(done(&v2(0x21, 0x21, &payload)), Some((header, 52)));
}

#[test]
fn what_we_send_is_what_the_specification_writes() {
    let header = proxied("192.0.2.1:12345", "198.51.100.2:443");
    assert_eq!(header.to_bytes(), v2(0x21, 0x11, &TCP4));
    assert_eq!(Header::Local.to_bytes(), v2(0x20, 0x00, b""));
    // Both of one family (§2.2 has one for the pair).
    let mixed = proxied("192.0.2.1:0", "[2001:db8::2]:443").to_bytes();
    assert_eq!(
        done(&mixed),
        Some((proxied("[::ffff:192.0.2.1]:0", "[2001:db8::2]:443"), 52))
    );
    let mapped = proxied("[::ffff:192.0.2.1]:12345", "[::ffff:198.51.100.2]:443");
    assert_eq!(mapped.to_bytes(), v2(0x21, 0x11, &TCP4));
}

#[test]
fn health_checks_and_nameless_clients_are_local() {
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff::1 ::1 1 2\r\n"] {
        assert_eq!(done(line.as_bytes()), Some((Header::Local, line.len())));
    }
    for bytes in [
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, &TCP4),
        // What a LOCAL header carries is passed over, be it garbage.
        v2(0x20, 0x11, b"garbage"),
        v2(0x21, 0x00, b""),
        v2(0x21, 0x31, &[0; 216]),
    ] {
        assert_eq!(done(&bytes), Some((Header::Local, bytes.len())));
    }
}

#[test]
fn tlvs_are_passed_over_and_must_fit() {
    let tlv = |bytes: &[u8]| v2(0x21, 0x11, &[&TCP4[..], bytes].concat());
    for good in [
        &b"\x01\x00\x02h2"[..],
        b"\x04\x00\x00",
        b"\x04\x00\x01\x00\x02\x00\x01a",
    ] {
        let bytes = tlv(good);
        assert_eq!(done(&bytes).map(|(_, length)| length), Some(bytes.len()));
    }
    for bad in [
        &b"\x01"[..],
        b"\x01\x00",
        b"\x01\x00\x03h2",
        b"\x01\x00\x02h2\x00",
        b"\x02\xff\xffa",
    ] {
        assert!(parse(&tlv(bad)).is_err(), "{bad:?}");
    }
    let most = [&[4, 8, 0][..], &[0; 2048]].concat();
    assert!(parse(&tlv(&most)).is_err(), "too many");
}

#[test]
fn anything_else_is_malformed_at_once() {
    for bytes in [
        &b"G"[..],
        b"\x16\x03\x01",
        b"proxy TCP4",
        b"PROXY\tTCP4",
        b"\r\n\r\n\0\r\nQUIT\n\x11",
        b"\r\n\r\n\0\r\nQUIT\n\x22",
        b"PROXY \r\n",
        b"PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 \xff 198.51.100.2 1 2\r\n",
    ] {
        assert!(parse(bytes).is_err(), "{bytes:?}");
    }
    assert!(parse(&[b"PROXY ".as_slice(), &[b'x'; 101]].concat()).is_err());
    for (command, family) in [(0x21, 0x12), (0x21, 0x22), (0x21, 0x41), (0x21, 0xff)] {
        assert!(parse(&v2(command, family, &[0; 216])).is_err());
    }
    for short in [0, 4, 11] {
        assert!(parse(&v2(0x21, 0x11, TCP4.get(..short).unwrap())).is_err());
    }
}

#[test]
fn every_beginning_of_a_header_is_partial() {
    for whole in [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0x21, 0x11, &[&TCP4[..], b"\x01\x00\x02h2"].concat()),
        v2(0x20, 0x00, b""),
    ] {
        for cut in 0..whole.len() {
            let beginning = whole.get(..cut).unwrap();
            assert_eq!(parse(beginning), Ok(Parsed::Partial), "{beginning:?}");
        }
        assert!(done(&whole).is_some());
    }
}

proptest! {
    #[test]
    fn what_we_send_is_read_as_we_meant_it(source: SocketAddr, destination: SocketAddr, more: Vec<u8>) {
        let mut bytes = Header::Proxied { source, destination }.to_bytes();
        let length = bytes.len();
        bytes.extend(more);
        let canonical = |at: SocketAddr| (at.ip().to_canonical(), at.port());
        match done(&bytes) {
            Some((Header::Proxied { source: from, destination: to }, read)) => {
                prop_assert_eq!(read, length);
                prop_assert_eq!(canonical(from), canonical(source));
                prop_assert_eq!(canonical(to), canonical(destination));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_bytes_are_judged_and_a_verdict_does_not_change_with_more(
        version in 0..3u8, garbage in prop::collection::vec(any::<u8>(), 0..300), more in any::<u8>(),
    ) {
        let mut bytes = match version {
            0 => Vec::new(),
            1 => WORD.to_vec(),
            _ => SIGNATURE.to_vec(),
        };
        bytes.extend(&garbage);
        let verdict = parse(&bytes);
        bytes.push(more);
        match verdict {
            Ok(Parsed::Partial) => {}
            Ok(Parsed::Done { length, .. }) => {
                prop_assert!(length < bytes.len());
                prop_assert_eq!(parse(&bytes), verdict);
            }
            Err(_) => prop_assert!(parse(&bytes).is_err()),
        }
    }
}
