//! What no server may take of HPACK (RFC 7541): the cases `hpack/2.3` to `hpack/6.3`.

use super::{Case, Expect, case};
use crate::support::framer::hpack::Block;
use crate::support::framer::{Frames, code, flag, request};

pub(super) fn cases() -> Vec<Case> {
    // A new literal with the name `user-agent` by Huffman, then a value that is not valid Huffman.
    let literal = |value: &[u8]| {
        let name = b"\x00\x88\xb5\x05\xb1\x61\xcc\x5a\x93\x27";
        request().raw(name).raw(value)
    };
    let end = [
        (
            "hpack/2.3.3/1",
            "indexed field beyond the table",
            request().indexed(70),
        ),
        (
            "hpack/2.3.3/2",
            "literal with a name beyond the table",
            request().raw(b"\x7f\x07\x00"),
        ),
        (
            "hpack/4.2/1",
            "size update at the end of a block",
            request().size_update(1),
        ),
        (
            "hpack/5.2/1",
            "Huffman with padding of more than 7 bits",
            literal(b"\x84\x49\x50\x9f\xff"),
        ),
        (
            "hpack/5.2/2",
            "Huffman with padding of zeros",
            literal(b"\x83\x49\x50\x90"),
        ),
        (
            "hpack/5.2/3",
            "Huffman with EOS",
            literal(b"\x87\x49\x51\xff\xff\xff\xfa\x7f"),
        ),
        (
            "hpack/6.1/1",
            "indexed field with index 0",
            request().raw(b"\x80"),
        ),
        (
            "hpack/6.3/1",
            "size update beyond SETTINGS_HEADER_TABLE_SIZE",
            Block::default().size_update(4097).raw(&request().0),
        ),
    ];
    let made = end.into_iter().map(|(id, what, block)| {
        let expect = Expect::Connection(&[code::COMPRESSION_ERROR]);
        case(
            id,
            what,
            Frames::new().headers(1, flag::WHOLE, &block),
            expect,
        )
    });
    made.collect()
}
