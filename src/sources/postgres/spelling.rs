//! How a host is spelled in the database: whole, or as its label below a base domain, which frameworks call the subdomain.

use crate::host::Host;

/// The hosts of a name as it is spelled in the database; none, if it can be no host.
pub(super) fn hosts<'b>(name: &'b str, bases: &'b [Host]) -> impl Iterator<Item = Host> + 'b {
    let whole = name.contains('.').then(|| Host::parse(name).ok()).flatten();
    let below = bases
        .iter()
        .filter(move |_| !name.contains('.'))
        .filter_map(move |base| Host::parse(&format!("{name}.{base}")).ok());
    whole.into_iter().chain(below)
}

/// The spellings that a host may have in the database, in lower case.
pub(super) fn of(host: &Host, bases: &[Host]) -> Vec<String> {
    let mut names = vec![host.as_str().to_owned()];
    let labels = bases.iter().filter_map(|base| host.below(base));
    for label in labels.filter(|rest| !rest.is_empty() && !rest.contains('.')) {
        if !names.iter().any(|name| name == label) {
            names.push(label.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn a_host_is_found_by_each_of_its_spellings_and_each_leads_back_to_it() {
        let bases = ["example.com", "eu.example.com"].map(host);
        for (name, spellings) in [
            ("acme.example.com", &["acme.example.com", "acme"][..]),
            ("acme.eu.example.com", &["acme.eu.example.com", "acme"]),
            ("eu.example.com", &["eu.example.com", "eu"]),
            ("example.com", &["example.com"]),
            ("a.b.example.com", &["a.b.example.com"]),
            ("www.customer.net", &["www.customer.net"]),
        ] {
            let found = of(&host(name), &bases);
            assert_eq!(found, spellings);
            for spelling in &found {
                assert!(
                    hosts(spelling, &bases).any(|it| it == host(name)),
                    "{spelling}"
                );
            }
        }
        assert_eq!(
            hosts("a b", &bases).count() + hosts("x..y", &bases).count(),
            0
        );
        assert_eq!(
            hosts("ACME.example.com.", &bases).next(),
            Some(host("acme.example.com"))
        );
    }
}
