//! What the world sees of a name, as resolvers tell it: for records of others that are only looked at.

use hickory_proto::rr::{Name, RData, RecordType};

use super::super::dns::wire::Role;
use super::look::values;
use super::zone::first_answer;
use super::{Propagation, absolute, text};
use crate::host::Host;

/// CNAMEs followed for one name.
const MAX_HOPS: usize = 8;

impl Propagation {
    /// The TXT values at a name, behind CNAMEs too; empty if there are none.
    ///
    /// # Errors
    /// Why no resolver told.
    pub async fn public_texts(&self, owner: &str) -> Result<Vec<String>, String> {
        let name = Name::from_ascii(owner).map_err(|error| error.to_string())?;
        let name = absolute(name);
        let answer = first_answer(self.resolvers(), Role::Recursor, &name, RecordType::TXT).await?;
        values(&answer, Role::Recursor)
    }

    /// The names that a host's CNAMEs lead to, in order; empty if it has none.
    ///
    /// # Errors
    /// Why no resolver told.
    pub async fn public_aliases(&self, host: &Host) -> Result<Vec<String>, String> {
        let name = Name::from_ascii(host.as_str()).map_err(|error| error.to_string())?;
        let mut name = absolute(name);
        let mut aliases = Vec::new();
        for _hop in 0..MAX_HOPS {
            let answer =
                first_answer(self.resolvers(), Role::Recursor, &name, RecordType::CNAME).await?;
            let target = answer.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == name => Some(target.0.clone()),
                _ => None,
            });
            let Some(target) = target else {
                break;
            };
            aliases.push(text(&target).to_ascii_lowercase());
            name = absolute(target);
        }
        Ok(aliases)
    }
}
