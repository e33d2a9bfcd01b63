//! Whether a set of CAA records lets a CA issue for a domain and its wildcard by DNS-01 (RFC 8659, RFC 8657). Pure.

/// One CAA record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    /// A CA that does not know the tag must not issue.
    pub(super) critical: bool,
    /// In lower case.
    pub(super) tag: String,
    /// As it stands.
    pub(super) value: String,
}

/// Whether the records of the deciding name allow a CA that is called `identities`, for our `account`, both for the
/// domain (`issue`) and for its wildcard (`issuewild`, or `issue` without any).
///
/// # Errors
/// The reason in words.
pub(super) fn judge(
    set: &[Property],
    identities: &[String],
    account: Option<&str>,
) -> Result<(), String> {
    let known = [
        "issue",
        "issuewild",
        "iodef",
        "issuemail",
        "issuevmc",
        "contactemail",
        "contactphone",
    ];
    let strange = set
        .iter()
        .find(|one| one.critical && !known.contains(&one.tag.as_str()));
    if let Some(strange) = strange {
        return Err(format!(
            "a critical record `{}` that no CA may pass over",
            strange.tag
        ));
    }
    let of = |tag: &str| -> Vec<&Property> { set.iter().filter(|one| one.tag == tag).collect() };
    let (issue, wild) = (of("issue"), of("issuewild"));
    allowed("issue", &issue, identities, account)?;
    let wild = if wild.is_empty() { issue } else { wild };
    allowed("issuewild", &wild, identities, account)
}

fn allowed(
    tag: &str,
    records: &[&Property],
    identities: &[String],
    account: Option<&str>,
) -> Result<(), String> {
    if records.is_empty() {
        return Ok(());
    }
    let mut reason = None;
    for record in records {
        match permits(&record.value, identities, account) {
            Ok(()) => return Ok(()),
            // That another CA is named says less than why ours is not let in.
            Err(Some(why)) => reason = Some(why),
            Err(None) => {}
        }
    }
    let reason = reason.unwrap_or_else(|| {
        let values: Vec<_> = records
            .iter()
            .map(|record| format!("`{}`", record.value))
            .collect();
        format!("only {}", values.join(", "))
    });
    Err(format!("`{tag}`: {reason}"))
}

/// Whether one value names the CA and its parameters fit; the reason if they do not, none if it names another.
fn permits(
    value: &str,
    identities: &[String],
    account: Option<&str>,
) -> Result<(), Option<String>> {
    let mut parts = value.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default();
    if !identities
        .iter()
        .any(|identity| identity.eq_ignore_ascii_case(issuer))
    {
        return Err(None);
    }
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "accounturi" if account.is_none() => {
                return Err(Some(format!(
                    "it wants the account `{value}`, and there is none here yet"
                )));
            }
            "accounturi" if account != Some(value) => {
                let own = account.unwrap_or_default();
                return Err(Some(format!(
                    "it wants the account `{value}`, ours is `{own}`"
                )));
            }
            "validationmethods"
                if !value
                    .split(',')
                    .any(|one| one.trim().eq_ignore_ascii_case("dns-01")) =>
            {
                return Err(Some(format!("it allows `{value}`, not dns-01")));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "https://ca.test/acct/1";

    fn judged(set: &[(&str, &str)]) -> Result<(), String> {
        let set: Vec<_> = set
            .iter()
            .map(|(tag, value)| Property {
                critical: tag.starts_with('!'),
                tag: tag.trim_start_matches('!').to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        judge(&set, &["ca.test".to_owned()], Some(ACCOUNT))
    }

    #[test]
    fn the_domain_and_its_wildcard_must_both_be_allowed() {
        for set in [
            &[][..],
            &[("issue", "ca.test")],
            &[("issue", "other.test"), ("issue", "CA.test")],
            &[("issuewild", "ca.test")],
            &[("iodef", "mailto:a@b")],
            &[("issue", "ca.test; validationmethods=http-01,dns-01")],
            &[("issue", "ca.test; accounturi=https://ca.test/acct/1")],
            &[("issue", "ca.test"), ("issuewild", "ca.test; x=y")],
            &[("strange", "x")],
        ] {
            assert_eq!(judged(set), Ok(()), "{set:?}");
        }
        for (set, reason) in [
            (&[("issue", ";")][..], "`issue`: only `;`"),
            (&[("issue", "other.test")], "`issue`: only `other.test`"),
            (
                &[("issue", "ca.test"), ("issuewild", ";")],
                "`issuewild`: only `;`",
            ),
            (
                &[("issuewild", "other.test")],
                "`issuewild`: only `other.test`",
            ),
            (
                &[("issue", "ca.test; validationmethods=http-01")],
                "`issue`: it allows `http-01`, not dns-01",
            ),
            (
                &[("issue", "ca.test; accounturi=https://ca.test/acct/2")],
                "`issue`: it wants the account `https://ca.test/acct/2`, ours is `https://ca.test/acct/1`",
            ),
            (
                &[("!strange", "x")],
                "a critical record `strange` that no CA may pass over",
            ),
        ] {
            assert_eq!(judged(set), Err(reason.to_owned()), "{set:?}");
        }
    }

    #[test]
    fn an_account_that_is_wanted_before_there_is_one_is_told() {
        let set = [Property {
            critical: false,
            tag: "issue".to_owned(),
            value: "ca.test; accounturi=https://ca.test/acct/1".to_owned(),
        }];
        let reason = judge(&set, &["ca.test".to_owned()], None).unwrap_err();
        assert!(reason.contains("there is none here yet"), "{reason}");
    }
}
