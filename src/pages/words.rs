//! What the edge says, status by status.
//!
//! The words are for whoever sits in front of the page: they did not build the site and need not know what
//! a proxy is. No text promises what the edge cannot know.

use http::StatusCode;

/// Title and advice for a status, or for a state of the site that says more than its status.
#[must_use]
pub fn words(status: StatusCode, reason: &str) -> (&'static str, &'static str) {
    if let Some(&(_, title, text)) = STATES.iter().find(|(state, ..)| *state == reason) {
        return (title, text);
    }
    let code = status.as_u16();
    let known = WORDS.iter().find(|(known, ..)| *known == code);
    match known {
        Some(&(_, title, text)) => (title, text),
        None if status.is_client_error() => CLIENT,
        None => SERVER,
    }
}

const WORDS: &[(u16, &str, &str)] = &[
    (
        400,
        "This request could not be understood",
        "Something about it is malformed. If you typed the address, check it. If a link brought you \
         here, the link may be damaged.",
    ),
    (
        402,
        "This site is suspended",
        "Its owner can bring it back. If that is you, look into your account or ask the support of \
         the service that hosts it.",
    ),
    (
        403,
        "You may not open this page",
        "It is not open to you or to the network you are on. If you think that is a mistake, ask \
         the owner of the site.",
    ),
    (
        404,
        "There is no site here",
        "No site has this address. Check how it is spelled, or ask the person who gave it to you.",
    ),
    (
        405,
        "This does not work here",
        "The address exists, but it does not take this kind of request.",
    ),
    (
        408,
        "The request took too long to arrive",
        "The connection may be slow or broken. Please try again.",
    ),
    (
        410,
        "This site has been removed",
        "It will not come back at this address. If you have a bookmark, you can delete it.",
    ),
    (
        413,
        "This is too large to send",
        "The site takes nothing of this size. Try a smaller file, or send it in parts.",
    ),
    (
        414,
        "This address is too long",
        "Go back and try again with a shorter one.",
    ),
    (
        417,
        "This request expects too much",
        "It has an “Expect” header that is not supported here. Send it again without that header.",
    ),
    (
        421,
        "The connection led to the wrong place",
        "Close this tab and open the address in a new one.",
    ),
    (
        429,
        "That was too much at once",
        "Too many requests came in a short time. Please wait a moment, then try again.",
    ),
    (
        431,
        "The request carries too much with it",
        "Old cookies are the usual cause. Delete the cookies of this site in your browser, then try \
         again.",
    ),
    (
        501,
        "This is not supported",
        "The request needs something that is not available here.",
    ),
    (
        502,
        "The site did not answer properly",
        "It is not your fault. Please try again in a minute.",
    ),
    (
        503,
        "The site is not available right now",
        "It may be busy or starting up. Please try again in a minute.",
    ),
    (
        504,
        "The site took too long to answer",
        "It may be busy. Please try again in a minute. If you were sending something, check first \
         whether it has arrived.",
    ),
    (
        508,
        "This request goes round in a circle",
        "The site is set up to send it back to itself. Only its owner can correct that.",
    ),
];

/// By the label of the access log.
const STATES: &[(&str, &str, &str)] = &[
    (
        "suspended",
        "This site is suspended",
        "Its owner can bring it back. If that is you, look into your account or ask the support of \
         the service that hosts it.",
    ),
    (
        "maintenance",
        "This site is being worked on",
        "It will be back soon. Please try again in a few minutes.",
    ),
    (
        "pending",
        "This site is being set up",
        "It will be here in a moment. Please try again in a minute.",
    ),
];

/// For every other status below 500.
const CLIENT: (&str, &str) = (
    "This request cannot be answered",
    "Check the address, then try again.",
);

/// For 500 and every other status.
const SERVER: (&str, &str) = (
    "Something went wrong on our side",
    "It is not your fault. Please try again in a minute. If it happens again, tell the owner of the \
     site the request number below.",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_that_the_edge_sends_has_words_of_its_own() {
        let sent = [
            400, 402, 403, 404, 405, 408, 410, 413, 414, 417, 421, 429, 431, 501, 502, 503, 504,
            508,
        ];
        for code in sent {
            let own = words(StatusCode::from_u16(code).unwrap(), "");
            assert!(own != CLIENT && own != SERVER, "{code}");
        }
        assert_eq!(words(StatusCode::INTERNAL_SERVER_ERROR, ""), SERVER);
        assert_eq!(words(StatusCode::IM_A_TEAPOT, ""), CLIENT);
    }

    #[test]
    fn titles_have_no_full_stop_and_texts_have_one() {
        let all = WORDS.iter().map(|&(_, title, text)| (title, text));
        let states = STATES.iter().map(|&(_, title, text)| (title, text));
        for (title, text) in all.chain(states).chain([CLIENT, SERVER]) {
            assert!(!title.ends_with('.') && text.ends_with('.'), "{title}");
            assert!(!text.contains("  "), "{text}");
        }
    }
}
