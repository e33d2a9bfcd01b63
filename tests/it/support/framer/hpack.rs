//! HPACK (RFC 7541) for tests: an encoder that writes what it is told to, right or wrong, and a decoder of answers.

use std::collections::VecDeque;

use super::huffman;

/// RFC 7541 Appendix A, from index 1.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// How a literal is to be kept (RFC 7541 section 6.2).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keep {
    /// In the dynamic table.
    Incremental,
    /// Not.
    Without,
    /// Not, and nowhere on the way either.
    Never,
}

impl Keep {
    /// The bits of the representation, and how many bits its index has.
    fn prefix(self) -> (u8, u8) {
        match self {
            Self::Incremental => (0x40, 6),
            Self::Without => (0, 4),
            Self::Never => (0x10, 4),
        }
    }
}

/// A header block, piece by piece.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block(pub(crate) Vec<u8>);

impl Block {
    /// Every field as a literal with a new name, not indexed, not compressed: the size is known and no table changes.
    pub(crate) fn of(fields: &[(&str, &str)]) -> Self {
        let each = |block: Self, &(name, value): &(&str, &str)| block.field(name, value);
        fields.iter().fold(Self::default(), each)
    }

    /// One more field as in [`Block::of`].
    pub(crate) fn field(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.named(Keep::Without, name.as_ref(), value.as_ref(), false)
    }

    /// A literal with a new name.
    pub(crate) fn named(mut self, keep: Keep, name: &[u8], value: &[u8], huffman: bool) -> Self {
        self.0.push(keep.prefix().0);
        self.string(name, huffman).string(value, huffman)
    }

    /// A literal whose name stands in a table.
    pub(crate) fn literal(self, keep: Keep, index: usize, value: &[u8], huffman: bool) -> Self {
        let (bits, size) = keep.prefix();
        self.integer(bits, size, index).string(value, huffman)
    }

    /// A field that stands in a table as a whole.
    pub(crate) fn indexed(self, index: usize) -> Self {
        self.integer(0x80, 7, index)
    }

    /// A change of the size of the dynamic table.
    pub(crate) fn size_update(self, size: usize) -> Self {
        self.integer(0x20, 5, size)
    }

    /// These bytes.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// RFC 7541 section 5.1.
    fn integer(mut self, bits: u8, size: u8, value: usize) -> Self {
        let most = (1 << size) - 1;
        let octet = |value: usize| u8::try_from(value).expect("an octet");
        if value < most {
            self.0.push(bits | octet(value));
            return self;
        }
        self.0.push(bits | octet(most));
        let mut rest = value - most;
        while rest >= 128 {
            self.0.push(octet(rest % 128) | 0x80);
            rest /= 128;
        }
        self.0.push(octet(rest));
        self
    }

    fn string(self, text: &[u8], huffman: bool) -> Self {
        if huffman {
            let code = huffman::encode(text);
            self.integer(0x80, 7, code.len()).raw(&code)
        } else {
            self.integer(0, 7, text.len()).raw(text)
        }
    }
}

/// A field of an answer.
pub(crate) type Field = (String, String);

/// The table of the other side. Panics on a malformed block: answers must be right.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: VecDeque<Field>,
    size: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            size: 4096,
        }
    }
}

impl Decoder {
    pub(crate) fn decode(&mut self, block: &[u8]) -> Vec<Field> {
        let mut rest = block;
        let mut fields = Vec::new();
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7);
                fields.push(self.at(index));
            } else if first & 0xe0 == 0x20 {
                assert!(fields.is_empty(), "a size update after a field");
                self.size = integer(&mut rest, 5);
                assert!(self.size <= 4096, "a table of {}", self.size);
                self.shrink();
            } else {
                let incremental = first & 0x40 != 0;
                let index = integer(&mut rest, if incremental { 6 } else { 4 });
                let name = match index {
                    0 => string(&mut rest),
                    _ => self.at(index).0,
                };
                let field = (name, string(&mut rest));
                if incremental {
                    self.table.push_front(field.clone());
                    self.shrink();
                }
                fields.push(field);
            }
        }
        fields
    }

    fn at(&self, index: usize) -> Field {
        let index = index.checked_sub(1).expect("index 0 is none");
        match STATIC.get(index) {
            Some((name, value)) => ((*name).to_owned(), (*value).to_owned()),
            None => self.table[index - STATIC.len()].clone(),
        }
    }

    fn shrink(&mut self) {
        let size = |(name, value): &Field| name.len() + value.len() + 32;
        while self.table.iter().map(size).sum::<usize>() > self.size {
            self.table.pop_back();
        }
    }
}

fn integer(rest: &mut &[u8], size: u8) -> usize {
    let most = (1 << size) - 1;
    let mut value = usize::from(take(rest) & most);
    if value < usize::from(most) {
        return value;
    }
    for shift in (0..).step_by(7) {
        let octet = take(rest);
        value += usize::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            break;
        }
    }
    value
}

fn string(rest: &mut &[u8]) -> String {
    let huffman = rest.first().expect("a string") & 0x80 != 0;
    let size = integer(rest, 7);
    let (text, after) = rest.split_at(size);
    *rest = after;
    let text = if huffman {
        huffman::decode(text)
    } else {
        text.to_vec()
    };
    // Octets beyond ASCII are legal in a value.
    String::from_utf8(text).unwrap_or_else(|text| text.into_bytes().escape_ascii().to_string())
}

fn take(rest: &mut &[u8]) -> u8 {
    let (&first, after) = rest.split_first().expect("more of the block");
    *rest = after;
    first
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut decoder = Decoder::default();
    for huffman in [false, true] {
        let block = Block::default()
            .size_update(2048)
            .indexed(2)
            .literal(Keep::Incremental, 1, b"a.example", huffman)
            .named(Keep::Never, b"x-secret", &[b'v'; 300], huffman)
            .indexed(62);
        let fields = decoder.decode(&block.0);
        let long = "v".repeat(300);
        let expected = [
            (":method", "GET"),
            (":authority", "a.example"),
            ("x-secret", &long),
            (":authority", "a.example"),
        ];
        assert_eq!(
            fields,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
