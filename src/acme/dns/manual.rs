//! A person publishes the records.
//!
//! The records are printed; the order goes on by itself once every authoritative server shows them, so it works
//! without a terminal too. What is to be done afterwards is printed as well.

use super::{DnsError, Output, Txt};

/// The person.
#[derive(Debug, Clone, Copy)]
pub struct Manual;

impl Manual {
    #[expect(clippy::unused_self, reason = "as the other providers")]
    pub(super) fn add(self, txt: &Txt, out: Output<'_>) -> Result<(), DnsError> {
        let text = format!(
            "Add this record (keep others of the same name):\n    {}. 60 IN TXT \"{}\"\n",
            txt.fqdn, txt.value
        );
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| {
                DnsError::Failed(format!("cannot print the record to publish: {error}"))
            })?;
        if txt.remaining == 0 {
            tracing::info!("waiting until all authoritative servers show the records");
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "as the other providers")]
    pub(super) fn remove(self, txt: &Txt, out: Output<'_>) -> Result<(), DnsError> {
        let text = format!(
            "You may remove:\n    {}. IN TXT \"{}\"\n",
            txt.fqdn, txt.value
        );
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| {
                DnsError::Failed(format!("cannot print the record to remove: {error}"))
            })
    }
}
