//! The CA's advice when to renew: ACME Renewal Information (RFC 9773).
//!
//! [`Advice`] is what is kept of it between runs. Everything about it is optional: no answer, an absurd one or one that
//! is no JSON never fails a run and never makes a certificate due; it only changes when the CA is asked again. Reading
//! an answer is pure; `ask` is the one place with a network. What the advice means for the renewal is decided in
//! [`schedule`](super::schedule).

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::client::{Answer, Client};
use super::schedule::Window;
use crate::cert::bundle::Bundle;
use crate::clock::UnixTime;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// What a `Retry-After` may ask for: RFC 9773 §4.3.2 wants a floor and a ceiling of the client's own.
const PAUSE: std::ops::RangeInclusive<i64> = MINUTE..=24 * HOUR;
/// The pause where the CA names none, and after anything that is no passing trouble (RFC 9773 §4.3.3).
const USUAL: i64 = 6 * HOUR;
/// The first pause after passing trouble; doubled each time up to [`USUAL`].
const FIRST: i64 = 5 * MINUTE;
/// Longest text kept of what the CA or the network said.
const TEXT: usize = 300;

/// What is known of the CA's advice for one certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Advice {
    /// The certificate's identifier (RFC 9773 §4.1).
    pub certificate: String,
    /// The window that the CA suggests; none if it gave none that makes sense.
    pub window: Option<Window>,
    /// When the CA first gave this window.
    pub since: Option<UnixTime>,
    /// The time inside the window that was chosen, before the schedule's own bounds.
    pub point: Option<UnixTime>,
    /// Where the CA explains the window to a person.
    pub explanation_url: Option<String>,
    /// When the CA answered last with a window.
    pub fetched: Option<UnixTime>,
    /// The CA is not asked again before this.
    pub next_fetch: Option<UnixTime>,
    /// Attempts in a row that brought no window.
    pub errors: u32,
    /// What the last of them met.
    pub last_error: Option<String>,
}

/// What one attempt brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A window.
    Window {
        /// It.
        window: Window,
        /// Where it is explained.
        explanation: Option<String>,
        /// Seconds that the CA wants to be left alone.
        pause: Option<i64>,
    },
    /// An answer that is no advice, which will be the same in an hour.
    Nothing(String),
    /// Trouble that may pass.
    Trouble(String),
}

impl Advice {
    /// Whether the CA is to be asked now: the pause is over, and it is about this certificate.
    #[must_use]
    pub fn is_due(&self, certificate: &str, now: UnixTime) -> bool {
        if self.certificate != certificate {
            return true;
        }
        // A pause is a day at most; more means that a clock was set back.
        self.next_fetch
            .is_none_or(|next| now >= next || next.seconds_since(now) > *PAUSE.end())
    }

    /// The window, if it is about this certificate.
    #[must_use]
    pub fn window_for(&self, certificate: &str) -> Option<Window> {
        self.window.filter(|_| self.certificate == certificate)
    }

    /// Takes in what an attempt at `now` brought.
    pub(super) fn take(&mut self, certificate: &str, found: Found, now: UnixTime) {
        if self.certificate != certificate {
            *self = Self {
                certificate: certificate.to_owned(),
                ..Self::default()
            };
        }
        let pause = match found {
            Found::Window {
                window,
                explanation,
                pause,
            } => {
                if self.window != Some(window) {
                    self.window = Some(window);
                    self.since = Some(now);
                }
                self.explanation_url = explanation;
                self.fetched = Some(now);
                self.errors = 0;
                self.last_error = None;
                pause.map_or(USUAL, |pause| pause.clamp(*PAUSE.start(), *PAUSE.end()))
            }
            Found::Nothing(reason) => {
                self.window = None;
                self.explanation_url = None;
                self.failed(reason);
                USUAL
            }
            Found::Trouble(reason) => {
                self.failed(reason);
                let doubled = FIRST.saturating_mul(1 << self.errors.saturating_sub(1).min(16));
                doubled.min(USUAL)
            }
        };
        self.next_fetch = Some(UnixTime(now.0.saturating_add(pause)));
    }

    fn failed(&mut self, reason: String) {
        self.errors = self.errors.saturating_add(1);
        self.last_error = Some(shorten(&reason));
    }
}

/// The identifier of a certificate (RFC 9773 §4.1): base64url of the authority key identifier, a dot, base64url of the
/// serial number as it stands in DER. None for a certificate without an authority key identifier.
#[must_use]
pub fn identifier(bundle: &Bundle) -> Option<String> {
    let (_, leaf) = X509Certificate::from_der(bundle.leaf()?).ok()?;
    let key =
        leaf.extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
                _ => None,
            })?;
    Some(format!(
        "{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(key.0),
        BASE64_URL_SAFE_NO_PAD.encode(leaf.raw_serial())
    ))
}

/// Asks the CA: a plain GET without account or nonce (RFC 9773 §4.1).
pub(super) async fn ask(client: &Client, directory: &str, certificate: &str) -> Found {
    let answer = match client.get(directory).await {
        Ok(answer) => answer,
        Err(error) => return Found::Trouble(format!("directory: {error}")),
    };
    if answer.status != StatusCode::OK {
        return Found::Trouble(format!("the directory answered {}", answer.status));
    }
    let url = match endpoint(&answer.body) {
        Ok(Some(url)) => url,
        Ok(None) => return Found::Nothing("this CA gives no advice".to_owned()),
        Err(error) => return Found::Trouble(format!("directory: {error}")),
    };
    let url = format!("{}/{certificate}", url.trim_end_matches('/'));
    match client.get(&url).await {
        Ok(answer) => read(&answer, UnixTime::now()),
        Err(error) => Found::Trouble(error.to_string()),
    }
}

/// `renewalInfo` of a directory.
fn endpoint(body: &[u8]) -> Result<Option<String>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Directory {
        #[serde(rename = "renewalInfo")]
        renewal_info: Option<String>,
    }
    serde_json::from_slice::<Directory>(body).map(|directory| directory.renewal_info)
}

/// Reads an answer (RFC 9773 §4.2 and §4.3.3).
fn read(answer: &Answer, now: UnixTime) -> Found {
    #[derive(Deserialize)]
    struct Info {
        #[serde(rename = "suggestedWindow")]
        window: Times,
        #[serde(rename = "explanationURL")]
        explanation: Option<String>,
    }
    #[derive(Deserialize)]
    struct Times {
        start: String,
        end: String,
    }
    if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Found::Trouble(format!("the CA answered {}", answer.status));
    }
    if answer.status != StatusCode::OK {
        return Found::Nothing(format!("the CA answered {}", answer.status));
    }
    let info = match serde_json::from_slice::<Info>(&answer.body) {
        Ok(info) => info,
        Err(error) => return Found::Nothing(format!("not understood: {error}")),
    };
    let (Some(start), Some(end)) = (instant(&info.window.start), instant(&info.window.end)) else {
        return Found::Nothing(format!(
            "a window without times: `{}` to `{}`",
            info.window.start, info.window.end
        ));
    };
    // RFC 9773 §4.2: an end that is not after the start is to be treated as no answer.
    if end <= start {
        return Found::Nothing(format!(
            "a window that ends ({end}) before it begins ({start})"
        ));
    }
    Found::Window {
        window: Window { start, end },
        explanation: info.explanation.map(|text| shorten(&text)),
        pause: answer.retry_after.map(|until| until.seconds_since(now)),
    }
}

fn instant(text: &str) -> Option<UnixTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(UnixTime(time.unix_timestamp()))
}

/// One line, of a bounded length, without control characters.
fn shorten(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1_784_000_000);

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            location: None,
            nonce: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn window(start: &str, end: &str) -> String {
        format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#)
    }

    /// The pause after an answer, and whether there is a window.
    fn taken(answer: &Answer) -> (i64, bool) {
        let mut advice = Advice::default();
        advice.take("id", read(answer, NOW), NOW);
        let pause = advice.next_fetch.unwrap().seconds_since(NOW);
        (pause, advice.window_for("id").is_some())
    }

    #[test]
    fn reads_windows_and_refuses_absurd_ones() {
        let good = window("2026-07-20T00:00:00Z", "2026-07-22T00:00:00+00:00");
        assert_eq!(taken(&answer(200, &good)), (USUAL, true));
        let second = window("2026-07-20T00:00:00Z", "2026-07-20T00:00:01Z");
        assert_eq!(taken(&answer(200, &second)), (USUAL, true));
        let far = window("9999-12-31T23:59:58Z", "9999-12-31T23:59:59Z");
        assert_eq!(taken(&answer(200, &far)), (USUAL, true));
        for body in [
            window("2026-07-22T00:00:00Z", "2026-07-20T00:00:00Z"),
            window("2026-07-22T00:00:00Z", "2026-07-22T00:00:00Z"),
            window("99999-07-22T00:00:00Z", "soon"),
            window("", ""),
            "<html><body>hello</body></html>".to_owned(),
            "{}".to_owned(),
            "null".to_owned(),
            String::new(),
        ] {
            assert_eq!(taken(&answer(200, &body)), (USUAL, false), "{body}");
        }
        assert_eq!(taken(&answer(404, &good)), (USUAL, false));
        assert_eq!(taken(&answer(500, &good)), (FIRST, false));
        assert_eq!(taken(&answer(503, "<html>")), (FIRST, false));
    }

    #[test]
    fn pauses_are_the_cas_within_a_minute_and_a_day() {
        let good = window("2026-07-20T00:00:00Z", "2026-07-22T00:00:00Z");
        for (asked, pause) in [
            (0, MINUTE),
            (61, 61),
            (7200, 7200),
            (90_000, 24 * HOUR),
            (-5, MINUTE),
        ] {
            let mut answer = answer(200, &good);
            answer.retry_after = Some(UnixTime(NOW.0 + asked));
            assert_eq!(taken(&answer).0, pause, "{asked}");
        }
    }

    #[test]
    fn trouble_doubles_the_pause_and_keeps_the_window_and_a_window_ends_it() {
        let mut advice = Advice::default();
        let good = window("2026-07-20T00:00:00Z", "2026-07-22T00:00:00Z");
        advice.take("id", read(&answer(200, &good), NOW), NOW);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            advice.take("id", Found::Trouble("x\ny".to_owned()), NOW);
            pauses.push(advice.next_fetch.unwrap().seconds_since(NOW) / MINUTE);
        }
        assert_eq!(pauses.get(..8).unwrap(), [5, 10, 20, 40, 80, 160, 320, 360]);
        assert_eq!(pauses.last(), Some(&360));
        assert!(advice.window_for("id").is_some());
        assert_eq!(advice.last_error.as_deref(), Some("xy"));
        advice.take("id", read(&answer(200, &good), NOW), NOW);
        assert_eq!((advice.errors, &advice.last_error), (0, &None));
        // Another certificate: nothing of the old one counts.
        advice.take("other", Found::Trouble(String::new()), NOW);
        assert_eq!(advice.window, None);
        assert_eq!(advice.window_for("id"), None);
    }

    #[test]
    fn asks_again_when_the_pause_is_over_or_the_clock_was_set_back() {
        let advice = Advice {
            certificate: "id".to_owned(),
            next_fetch: Some(NOW),
            ..Advice::default()
        };
        assert!(!advice.is_due("id", UnixTime(NOW.0 - 1)));
        assert!(advice.is_due("id", NOW));
        assert!(advice.is_due("other", UnixTime(NOW.0 - 1)));
        assert!(advice.is_due("id", UnixTime(NOW.0 - 2 * 24 * HOUR)));
    }

    #[test]
    fn the_directory_may_have_no_endpoint() {
        assert_eq!(endpoint(b"{}").unwrap(), None);
        let found = endpoint(br#"{"renewalInfo":"https://ca.test/ari","x":1}"#);
        assert_eq!(found.unwrap().as_deref(), Some("https://ca.test/ari"));
        assert!(endpoint(b"<html>").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_pause_wrongly(
            status in 200u16..600,
            body in ".{0,200}",
            retry in any::<Option<i64>>(),
            now in -1i64..4_000_000_000,
        ) {
            let now = UnixTime(now);
            let mut answer = answer(status, &body);
            answer.retry_after = retry.map(UnixTime);
            let mut advice = Advice::default();
            advice.take("id", read(&answer, now), now);
            let pause = advice.next_fetch.unwrap().seconds_since(now);
            prop_assert!(PAUSE.contains(&pause));
        }

        #[test]
        fn no_times_make_it_panic(start in ".{0,30}", end in ".{0,30}") {
            let body = serde_json::json!({"suggestedWindow": {"start": start, "end": end}});
            read(&answer(200, &body.to_string()), NOW);
        }
    }
}
