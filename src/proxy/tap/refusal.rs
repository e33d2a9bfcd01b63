//! Why the tap refuses a head.

use crate::proxy::error::RequestError;

/// A rule that a head breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// A bare LF.
    LineEnd,
    /// A control character: bare CR, NUL and the like.
    Control,
    /// More than one empty line before the request line.
    EmptyLines,
    /// Not method, target and version with one space between.
    RequestLine,
    /// A version that is not spoken here.
    Version,
    /// A method that is too long.
    Method,
    /// A `#` in the target.
    Fragment,
    /// A byte in the target that must be percent-encoded, or a target that is no URI.
    Target,
    /// A target that is too long.
    TargetTooLong,
    /// A header line that begins with white space (obs-fold).
    Folded,
    /// White space before the colon.
    SpaceBeforeColon,
    /// Not a header name.
    Name,
    /// A head that is too large.
    TooLarge,
    /// Too many header lines.
    TooMany,
    /// `Content-Length` is not one number.
    Length,
    /// Two `Content-Length` lines.
    Lengths,
    /// Two `Transfer-Encoding` lines.
    Codings,
    /// `Transfer-Encoding` is no list, is chunked twice, or not chunked last.
    Coding,
    /// A transfer coding that is not known.
    UnknownCoding,
    /// `Content-Length` and `Transfer-Encoding`.
    LengthAndCoding,
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingInOld,
}

impl Refusal {
    /// In order of their numbers.
    pub(super) const ALL: [Self; 21] = [
        Self::LineEnd,
        Self::Control,
        Self::EmptyLines,
        Self::RequestLine,
        Self::Version,
        Self::Method,
        Self::Fragment,
        Self::Target,
        Self::TargetTooLong,
        Self::Folded,
        Self::SpaceBeforeColon,
        Self::Name,
        Self::TooLarge,
        Self::TooMany,
        Self::Length,
        Self::Lengths,
        Self::Codings,
        Self::Coding,
        Self::UnknownCoding,
        Self::LengthAndCoding,
        Self::CodingInOld,
    ];

    /// The answer to it.
    #[must_use]
    pub fn error(self) -> RequestError {
        match self {
            Self::LineEnd => RequestError::BadHead("a line of the request does not end with CR LF"),
            Self::Control => RequestError::BadHead("a control character stands in the request"),
            Self::EmptyLines => RequestError::BadHead("empty lines stand before the request"),
            Self::RequestLine => {
                RequestError::BadHead("the request line is not method, target and version")
            }
            Self::Version => RequestError::BadHead("the version is not HTTP/1.1 or HTTP/1.0"),
            Self::Method => RequestError::BadTarget("the method is longer than 32 bytes"),
            Self::Fragment => RequestError::BadTarget("the target has a fragment"),
            Self::Target => {
                RequestError::BadTarget("the target has a character that must be encoded")
            }
            Self::TargetTooLong => RequestError::TargetTooLong,
            Self::Folded => RequestError::BadHeader("a header line begins with white space"),
            Self::SpaceBeforeColon => {
                RequestError::BadHeader("white space stands before the colon of a header")
            }
            Self::Name => RequestError::BadHeader("a header line has no valid name"),
            Self::TooLarge | Self::TooMany => RequestError::HeadTooLarge,
            Self::Length => RequestError::BadFraming("`Content-Length` is not a number"),
            Self::Lengths => {
                RequestError::BadFraming("the request has several `Content-Length` lines")
            }
            Self::Codings => {
                RequestError::BadFraming("the request has several `Transfer-Encoding` lines")
            }
            Self::Coding => RequestError::BadFraming("`Transfer-Encoding` is not `chunked`"),
            Self::UnknownCoding => RequestError::UnknownCoding,
            Self::LengthAndCoding => RequestError::BadFraming(
                "the request has a `Content-Length` and a `Transfer-Encoding`",
            ),
            Self::CodingInOld => RequestError::BadFraming("HTTP/1.0 knows no `Transfer-Encoding`"),
        }
    }
}
