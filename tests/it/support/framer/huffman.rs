//! The Huffman code of HPACK (RFC 7541 Appendix B), made from the lengths of its codes: it is canonical.

/// Length in bits of the code of each octet, and of EOS (256).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The symbols with their lengths and codes, shortest first.
fn codes() -> Vec<(u8, u32, usize)> {
    let mut symbols: Vec<usize> = (0..LENGTHS.len()).collect();
    symbols.sort_by_key(|&symbol| (LENGTHS[symbol], symbol));
    let (mut code, mut length) = (0_u32, 0);
    let next = |symbol: usize| {
        code <<= LENGTHS[symbol] - length;
        length = LENGTHS[symbol];
        let this = (length, code, symbol);
        code = code.wrapping_add(1);
        this
    };
    symbols.into_iter().map(next).collect()
}

/// Encodes with the padding that the RFC asks for: ones, the beginning of EOS.
pub(crate) fn encode(text: &[u8]) -> Vec<u8> {
    let codes = codes();
    let mut bits = Vec::new();
    for &octet in text {
        let of_octet = |&&(_, _, symbol): &&(u8, u32, usize)| symbol == usize::from(octet);
        let &(length, code, _) = codes.iter().find(of_octet).expect("every octet has a code");
        bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    }
    while bits.len() % 8 != 0 {
        bits.push(true);
    }
    let octet = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    bits.chunks(8).map(octet).collect()
}

/// Decodes, and panics on what the RFC forbids: EOS, padding that is too long or not of ones.
pub(crate) fn decode(bytes: &[u8]) -> Vec<u8> {
    let codes = codes();
    let (mut text, mut code, mut length) = (Vec::new(), 0_u32, 0_u8);
    for bit in bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
    {
        code = code << 1 | u32::from(bit);
        length += 1;
        let found =
            codes.binary_search_by_key(&(length, code), |&(length, code, _)| (length, code));
        if let Ok(at) = found {
            text.push(u8::try_from(codes[at].2).expect("no EOS in a string"));
            (code, length) = (0, 0);
        }
    }
    assert!(length < 8, "padding of {length} bits");
    assert_eq!(code, (1 << length) - 1, "padding that is not of ones");
    text
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 7541 appendices C.4.1, C.4.3 and C.6.1.
    for (text, code) in [
        ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
        ("custom-key", "25a849e95ba97d7f"),
        (
            "Mon, 21 Oct 2013 20:13:21 GMT",
            "d07abe941054d444a8200595040b8166e082a62d1bff",
        ),
    ] {
        let bytes = encode(text.as_bytes());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, code);
        assert_eq!(decode(&bytes), text.as_bytes());
    }
}
