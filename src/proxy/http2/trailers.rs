//! Looks for pseudo-headers and fields that are too large in a block of trailers, without a decoder.
//!
//! Walks over the representations of HPACK (RFC 7541 §6) and looks at names that stand in the static table or are
//! written out. A name in the dynamic table is not known here; h2 leaves such a pseudo-header out, so that the app
//! never sees one. A field that is larger than a whole head may be h2 leaves out too, and all that follow it, without a
//! word; the dynamic table (4 KiB) has none as large unless `limits.header_size` is below 8 KiB. Never fails: what is malformed h2 refuses.

/// The entries of the static table that are pseudo-headers: 1 to this.
const LAST_PSEUDO: usize = 14;
/// What each field counts beside its name and value (RFC 9113 §6.5.2).
const OVERHEAD: usize = 32;
/// The code of `:` by Huffman (RFC 7541 Appendix B): the first seven bits.
const COLON: u8 = 0b101_1100;

/// What is wrong with trailers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A field's name begins with `:`.
    Pseudo,
    /// A field is larger than is looked for, or may be.
    TooLarge,
}

/// The first flaw of a block, if it has one. `most` is the size of a field that is not too large, in bytes as RFC 9113
/// §6.5.2 counts them.
#[must_use]
pub(super) fn flaw(mut block: &[u8], most: usize) -> Option<Flaw> {
    while let Some(field) = next(&mut block) {
        if field.pseudo {
            return Some(Flaw::Pseudo);
        }
        if field.size > most {
            return Some(Flaw::TooLarge);
        }
    }
    None
}

/// What a representation tells of its field.
struct Field {
    pseudo: bool,
    /// The most that it can have of what is written out.
    size: usize,
}

/// The next representation; `None` at the end.
fn next(block: &mut &[u8]) -> Option<Field> {
    let first = *block.first()?;
    if first & 0x80 != 0 {
        let pseudo = (1..=LAST_PSEUDO).contains(&integer(block, 7)?);
        return Some(Field { pseudo, size: 0 });
    }
    if first & 0xe0 == 0x20 {
        integer(block, 5)?;
        let (pseudo, size) = (false, 0);
        return Some(Field { pseudo, size });
    }
    let index = integer(block, if first & 0x40 != 0 { 6 } else { 4 })?;
    let mut size = OVERHEAD;
    let pseudo = if index == 0 {
        let (huffman, name) = string(block)?;
        size += plain_size(huffman, name);
        match name.first() {
            Some(&first) if huffman => first >> 1 == COLON,
            first => first == Some(&b':'),
        }
    } else {
        index <= LAST_PSEUDO
    };
    let (huffman, value) = string(block)?;
    size += plain_size(huffman, value);
    Some(Field { pseudo, size })
}

/// The most bytes that a string can have: the shortest code has five bits (RFC 7541 Appendix B).
fn plain_size(huffman: bool, text: &[u8]) -> usize {
    if huffman {
        text.len() * 8 / 5
    } else {
        text.len()
    }
}

/// RFC 7541 §5.2: whether it is compressed, and the bytes.
fn string<'b>(block: &mut &'b [u8]) -> Option<(bool, &'b [u8])> {
    let huffman = block.first()? & 0x80 != 0;
    let size = integer(block, 7)?;
    let (text, rest) = block.split_at_checked(size)?;
    *block = rest;
    Some((huffman, text))
}

/// RFC 7541 §5.1, with `bits` in the first octet. `None` for more than any block has.
fn integer(block: &mut &[u8], bits: u8) -> Option<usize> {
    let (&first, mut rest) = block.split_first()?;
    let most = (1 << bits) - 1;
    let mut value = usize::from(first & most);
    if first & most == most {
        let mut shift = 0;
        loop {
            let (&octet, after) = rest.split_first()?;
            rest = after;
            value += usize::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 21 {
                return None;
            }
        }
    }
    *block = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_every_form_of_a_pseudo_header() {
        for block in [
            &b"\x82"[..],                               // indexed `:method: GET`
            b"\x02\x03GET",                             // the name of the table
            b"\x00\x07:method\x03GET",                  // written out
            b"\x40\x86\xb9\x49\x53\x39\xe4\xb8\x03GET", // compressed
            b"\x3f\xe1\x1f\x00\x01x\x01y\x10\x01:\x00", // after a size update and a field
        ] {
            assert_eq!(flaw(block, 100), Some(Flaw::Pseudo), "{block:02x?}");
        }
        for block in [
            &b""[..],
            b"\x90",             // `accept-encoding` as a whole
            b"\x0f\x0f\x02:a",   // a value with a colon
            b"\x00\x03a:b\x01:", // not at the beginning
            b"\xbe",             // the dynamic table
        ] {
            assert_eq!(flaw(block, 100), None, "{block:02x?}");
        }
    }

    #[test]
    fn finds_a_field_that_is_too_large() {
        let field = |huffman: u8, size: u8| {
            let value = vec![0; usize::from(size)];
            [&b"\x82"[1..], b"\x00\x01x", &[huffman | size], &value].concat()
        };
        assert_eq!(flaw(&field(0, 67), 100), None);
        assert_eq!(flaw(&field(0, 68), 100), Some(Flaw::TooLarge));
        assert_eq!(flaw(&field(0x80, 41), 100), None);
        assert_eq!(flaw(&field(0x80, 43), 100), Some(Flaw::TooLarge));
        let second = [field(0, 1), field(0, 90)].concat();
        assert_eq!(flaw(&second, 100), Some(Flaw::TooLarge));
        assert_eq!(flaw(&field(0, 60).repeat(5), 100), None, "each for itself");
    }

    proptest! {
        #[test]
        fn takes_any_bytes(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let found = flaw(&block, 100);
            prop_assert!(found.is_none() || !block.is_empty());
            // More than there are bytes for is never found.
            prop_assert!(flaw(&block, 32 + 200 * 8 / 5) != Some(Flaw::TooLarge));
        }
    }
}
