//! The table says what a map of its rows would say.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn tenant(id: &str, state: State) -> Tenant {
    Tenant::new(TenantId::new(id).unwrap(), state)
}

fn bases() -> Vec<Host> {
    ["example.com", "eu.example.com", "example.org"]
        .map(host)
        .to_vec()
}

#[test]
fn a_host_has_one_tenant_and_a_tenant_many_hosts() {
    let mut table = Table::new(&bases());
    let acme = table.add_tenant(&tenant("acme", State::Active)).unwrap();
    let other = table.add_tenant(&tenant("Büro", State::Suspended)).unwrap();
    for name in [
        "acme.example.com",
        "shop.eu.example.com",
        "www.customer.net",
        "example.com",
    ] {
        table.add_host(&host(name), acme).unwrap();
    }
    table.add_host(&host("acme.example.com"), acme).unwrap();
    table.add_host(&host("acme.example.org"), other).unwrap();
    assert_eq!(
        table.add_host(&host("www.customer.net"), other),
        Err(TableError::TwoTenants)
    );
    assert_eq!(table.place(&TenantId::new("acme").unwrap()), Some(acme));
    assert_eq!(table.place(&TenantId::new("Büro").unwrap()), Some(other));
    assert_eq!(table.place(&TenantId::new("acm").unwrap()), None);
    table.finish();
    assert_eq!((table.tenants(), table.hosts()), (2, 5));
    let found = |name: &str| table.tenant(&host(name));
    assert_eq!(found("acme.example.org").unwrap().id.as_str(), "Büro");
    assert_eq!(found("acme.example.org").unwrap().state, State::Suspended);
    assert_eq!(found("example.com").unwrap().id.as_str(), "acme");
    // Not the same as `shop` below another base, nor as the rest of a name.
    for name in [
        "shop.example.com",
        "acme.eu.example.com",
        "customer.net",
        "acme",
    ] {
        assert_eq!(found(name), None, "{name}");
    }
}

#[test]
fn everything_that_is_known_of_a_tenant_comes_back() {
    let mut table = Table::new(&bases());
    let mut attributes = Attributes::default();
    attributes.set("pool", "eu").unwrap();
    let attributes = Arc::new(attributes);
    let mut rows = Vec::new();
    for (number, (_, state)) in (0..40_u32).zip(State::NAMES.iter().cycle()) {
        let mut one = tenant(&format!("t{number}"), *state);
        one.slug = (number % 2 == 0).then(|| Name::new(&format!("slug{number}")).unwrap());
        one.schema = (number % 3 == 0).then(|| Name::new(&format!("schema {number}")).unwrap());
        if number % 4 == 0 {
            one.attributes = Arc::clone(&attributes);
        }
        one.primary = match number % 5 {
            0 => Some(host(&format!("b{number}.example.com"))),
            1 => Some(host(&format!("www.customer{number}.net"))),
            2 => Some(host("elsewhere.example.edu")),
            _ => None,
        };
        let place = table.add_tenant(&one).unwrap();
        for name in [
            format!("a{number}.eu.example.com"),
            format!("b{number}.example.com"),
            format!("www.customer{number}.net"),
        ] {
            table.add_host(&host(&name), place).unwrap();
            rows.push((host(&name), one.clone()));
        }
        if number % 5 == 3 {
            let primary = host(&format!("a{number}.eu.example.com"));
            table.set_primary(place, &primary);
            for (_, row) in rows.iter_mut().rev().take(3) {
                row.primary = Some(primary.clone());
            }
        }
    }
    table.finish();
    assert_eq!(table.attributes.len(), 1, "shared by all that have them");
    for (name, expected) in &rows {
        assert_eq!(table.tenant(name).as_deref(), Some(expected), "{name}");
        assert!(table.contains(name));
    }
    let listed: Vec<(Host, Tenant)> = table
        .rows()
        .map(|(host, place)| (host, table.tenant_at(place).unwrap()))
        .collect();
    assert_eq!(listed, rows);
}

proptest! {
    #[test]
    fn says_the_same_as_a_map(names in prop::collection::vec("[a-c]{1,3}", 1..200), asked in prop::collection::vec("[a-c]{1,3}", 50)) {
        let mut table = Table::new(&bases());
        let mut map = HashMap::new();
        for (number, name) in names.iter().enumerate() {
            let base = match number % 3 {
                0 => "example.com",
                1 => "eu.example.com",
                _ => "example.net",
            };
            let host = host(&format!("{name}.{base}"));
            let id = format!("t{number}");
            let place = table.add_tenant(&tenant(&id, State::Active)).unwrap();
            let added = table.add_host(&host, place);
            prop_assert_eq!(added.is_ok(), !map.contains_key(&host));
            map.entry(host).or_insert(id);
        }
        for name in asked {
            for base in ["example.com", "eu.example.com", "example.net", "example.org"] {
                let host = host(&format!("{name}.{base}"));
                let found = table.tenant(&host).map(|found| found.id.to_string());
                prop_assert_eq!(found.as_ref(), map.get(&host));
            }
        }
    }
}
