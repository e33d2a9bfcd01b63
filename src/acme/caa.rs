//! Whether a set of CAA records lets a CA issue (RFC 8659), by our kind of challenge and for our account (RFC 8657). Pure.

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

/// What is asked of the CA.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    /// The names that the CA goes by in CAA records.
    pub(super) identities: &'a [String],
    /// The URL of our account; none if there is none yet.
    pub(super) account: Option<&'a str>,
    /// The kind of challenge, as in `dns-01`.
    pub(super) method: &'a str,
    /// Whether the name itself is wanted.
    pub(super) exact: bool,
    /// Whether its wildcard is.
    pub(super) wildcard: bool,
}

/// Whether the records of the deciding name allow what is wished: the name itself by `issue`, its wildcard by
/// `issuewild`, or by `issue` if there is none.
///
/// # Errors
/// The reason in words.
pub(super) fn judge(set: &[Property], wish: &Wish<'_>) -> Result<(), String> {
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
    if wish.exact {
        allowed("issue", &issue, wish)?;
    }
    if !wish.wildcard {
        return Ok(());
    }
    if wild.is_empty() {
        allowed("issue", &issue, wish)
    } else {
        allowed("issuewild", &wild, wish)
    }
}

fn allowed(tag: &str, records: &[&Property], wish: &Wish<'_>) -> Result<(), String> {
    if records.is_empty() {
        return Ok(());
    }
    let mut reason = None;
    for record in records {
        match permits(&record.value, wish) {
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
fn permits(value: &str, wish: &Wish<'_>) -> Result<(), Option<String>> {
    let (account, method) = (wish.account, wish.method);
    let mut parts = value.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default();
    if !wish
        .identities
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
                    .any(|one| one.trim().eq_ignore_ascii_case(method)) =>
            {
                return Err(Some(format!("it allows `{value}`, not {method}")));
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
        judged_for(set, "dns-01", Some(ACCOUNT), [true, true])
    }

    fn judged_for(
        set: &[(&str, &str)],
        method: &str,
        account: Option<&str>,
        [exact, wildcard]: [bool; 2],
    ) -> Result<(), String> {
        let set: Vec<_> = set
            .iter()
            .map(|(tag, value)| Property {
                critical: tag.starts_with('!'),
                tag: tag.trim_start_matches('!').to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        let wish = Wish {
            identities: &["ca.test".to_owned()],
            account,
            method,
            exact,
            wildcard,
        };
        judge(&set, &wish)
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
        let set = [("issue", "ca.test; accounturi=https://ca.test/acct/1")];
        let reason = judged_for(&set, "dns-01", None, [true, true]).unwrap_err();
        assert!(reason.contains("there is none here yet"), "{reason}");
    }

    #[test]
    fn only_the_kind_of_challenge_and_the_names_that_are_wanted_count() {
        let set = [
            ("issue", "ca.test; validationmethods=http-01,tls-alpn-01"),
            ("issuewild", ";"),
        ];
        let single = [true, false];
        for method in ["http-01", "tls-alpn-01"] {
            assert_eq!(judged_for(&set, method, None, single), Ok(()));
        }
        let reason = judged_for(&set, "dns-persist-01", None, single).unwrap_err();
        assert!(reason.ends_with("not dns-persist-01"), "{reason}");
        assert!(judged_for(&set, "http-01", None, [true, true]).is_err());
        // A wildcard alone does not look at `issue` where `issuewild` speaks.
        let set = [("issue", ";"), ("issuewild", "ca.test")];
        assert_eq!(judged_for(&set, "dns-01", None, [false, true]), Ok(()));
        assert!(judged_for(&set, "dns-01", None, single).is_err());
    }
}
