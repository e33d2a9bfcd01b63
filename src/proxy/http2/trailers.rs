//! Looks for pseudo-headers in a block of trailers, without a decoder.
//!
//! Walks over the representations of HPACK (RFC 7541 §6) and looks at names that stand in the static table or are
//! written out. A name in the dynamic table is not known here; h2 leaves such a pseudo-header out, so that the app
//! never sees one. Never fails: what is malformed h2 refuses.

/// The entries of the static table that are pseudo-headers: 1 to this.
const LAST_PSEUDO: usize = 14;
/// The code of `:` by Huffman (RFC 7541 Appendix B): the first seven bits.
const COLON: u8 = 0b101_1100;

/// Whether a field's name begins with `:`.
#[must_use]
pub(super) fn names_pseudo(mut block: &[u8]) -> bool {
    while let Some(found) = next(&mut block) {
        if found {
            return true;
        }
    }
    false
}

/// Whether the next representation names a pseudo-header; `None` at the end.
fn next(block: &mut &[u8]) -> Option<bool> {
    let first = *block.first()?;
    if first & 0x80 != 0 {
        return Some((1..=LAST_PSEUDO).contains(&integer(block, 7)?));
    }
    if first & 0xe0 == 0x20 {
        integer(block, 5)?;
        return Some(false);
    }
    let index = integer(block, if first & 0x40 != 0 { 6 } else { 4 })?;
    let pseudo = if index == 0 {
        let (huffman, name) = string(block)?;
        match name.first() {
            Some(&first) if huffman => first >> 1 == COLON,
            first => first == Some(&b':'),
        }
    } else {
        index <= LAST_PSEUDO
    };
    string(block)?;
    Some(pseudo)
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
            assert!(names_pseudo(block), "{block:02x?}");
        }
        for block in [
            &b""[..],
            b"\x90",             // `accept-encoding` as a whole
            b"\x0f\x0f\x02:a",   // a value with a colon
            b"\x00\x03a:b\x01:", // not at the beginning
            b"\xbe",             // the dynamic table
        ] {
            assert!(!names_pseudo(block), "{block:02x?}");
        }
    }

    proptest! {
        #[test]
        fn takes_any_bytes(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let names = names_pseudo(&block);
            prop_assert!(!names || !block.is_empty());
        }
    }
}
