//! Messages for people: set-up of `tracing`, text or JSON on standard error.
//!
//! The subscriber is the one global of the process; [`init`] sets it once, before any thread starts. A message that
//! cannot be written (closed standard error, full pipe of a dead reader) is lost without a panic. A [`Filter`] is
//! parsed when the configuration is checked, so that a typing error is found by `portico check` and does not silence
//! the log.

use std::io;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// Shape of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which messages are written: a level, and levels for modules, as in `info,portico::acme=debug`.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Targets);

impl Filter {
    /// Parses a filter.
    ///
    /// Stricter than [`Targets`]: there a mistyped level (`inof`) is the name of a module, which turns everything
    /// else off, and an empty text means `error`.
    ///
    /// # Errors
    /// [`LogError`] names the first bad part.
    pub fn parse(text: &str) -> Result<Self, LogError> {
        // The one tells of every question at level info, and of little else; the other warns of what any client does
        // wrong, line by line.
        let mut targets = Targets::new()
            .with_target("hickory_server", LevelFilter::WARN)
            .with_target("h2", LevelFilter::ERROR);
        for part in text.split(',').map(str::trim) {
            let level = |word: &str| {
                if word.is_empty() {
                    return Err(LogError::Part(part.to_owned()));
                }
                word.parse::<LevelFilter>()
                    .map_err(|_not_a_level| LogError::Level(word.to_owned()))
            };
            targets = match part.split_once('=') {
                None => targets.with_default(level(part)?),
                Some((module, word)) => {
                    let module = module.trim();
                    let known = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
                    if module.is_empty() || !module.bytes().all(known) {
                        return Err(LogError::Part(part.to_owned()));
                    }
                    targets.with_target(module, level(word.trim())?)
                }
            };
        }
        Ok(Self(targets))
    }
}

/// Why messages cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogError {
    /// A part is neither `level` nor `module=level`.
    #[error("`level` or `module=level` is needed: `{0}`")]
    Part(String),
    /// A level is not known.
    #[error("the level is none of off, error, warn, info, debug, trace: `{0}`")]
    Level(String),
    /// [`init`] was called before.
    #[error("messages are set up already")]
    Twice,
}

/// Sends the messages of this process to standard error from now on.
///
/// # Errors
/// [`LogError::Twice`].
pub fn init(filter: Filter, format: Format) -> Result<(), LogError> {
    // Not `try_init`: that would also install a logger for the `log` facade if the feature were on.
    tracing::subscriber::set_global_default(subscriber(filter, format, io::stderr))
        .map_err(|_set_before| LogError::Twice)
}

fn subscriber<W>(
    filter: Filter,
    format: Format,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        // Without this a failed write is reported by `eprintln!`, which panics when standard error is the one that
        // failed.
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter.0);
    match format {
        Format::Text => Box::new(registry.with(layer)),
        Format::Json => Box::new(registry.with(layer.json().flatten_event(true))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer that tests can read back.
    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn captured(filter: &str, format: Format, f: impl FnOnce()) -> String {
        let out = Captured::default();
        let writer = out.clone();
        let subscriber = subscriber(Filter::parse(filter).unwrap(), format, move || {
            writer.clone()
        });
        tracing::subscriber::with_default(subscriber, f);
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn filters_by_level_and_module() {
        let text = captured("warn,portico::acme=debug", Format::Text, || {
            tracing::info!(target: "portico::proxy", "hidden");
            tracing::warn!(target: "portico::proxy", "shown one");
            tracing::debug!(target: "portico::acme::order", "shown two");
        });
        assert!(!text.contains("hidden"), "{text}");
        assert!(
            text.contains("shown one") && text.contains("shown two"),
            "{text}"
        );
    }

    #[test]
    fn json_lines_are_flat_objects_whatever_the_values() {
        let line = captured("info", Format::Json, || {
            tracing::info!(host = "a\"b\n\u{1b}[31m", "two\nlines");
        });
        assert_eq!(line.lines().count(), 1, "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            value.get("message").and_then(|v| v.as_str()),
            Some("two\nlines")
        );
        assert_eq!(
            value.get("host").and_then(|v| v.as_str()),
            Some("a\"b\n\u{1b}[31m")
        );
    }

    #[test]
    fn a_writer_that_fails_is_no_panic() {
        struct Broken;
        impl io::Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        for format in [Format::Text, Format::Json] {
            let subscriber = subscriber(Filter::parse("info").unwrap(), format, || Broken);
            tracing::subscriber::with_default(subscriber, || tracing::error!("lost"));
        }
    }

    #[test]
    fn names_the_bad_part_of_a_filter() {
        for good in [
            "info",
            "OFF",
            "info,portico::acme=debug",
            " warn , h2 = off ",
            "portico=trace",
        ] {
            assert!(Filter::parse(good).is_ok(), "{good}");
        }
        let level = |text: &str| Err(LogError::Level(text.to_owned()));
        let part = |text: &str| Err(LogError::Part(text.to_owned()));
        assert_eq!(Filter::parse("inof"), level("inof"));
        assert_eq!(Filter::parse("info,portico::acme=loud"), level("loud"));
        assert_eq!(Filter::parse("portico::acme"), level("portico::acme"));
        assert_eq!(Filter::parse(""), part(""));
        assert_eq!(Filter::parse("info,"), part(""));
        assert_eq!(Filter::parse("=info"), part("=info"));
        assert_eq!(Filter::parse("portico="), part("portico="));
        assert_eq!(Filter::parse("a[{b}]=info"), part("a[{b}]=info"));
    }
}
