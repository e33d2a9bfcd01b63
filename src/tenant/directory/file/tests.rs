//! The formats say the same, and a mistake in any of them is said with its place and a hint.

use super::*;
use crate::tenant::id::State;

fn read(name: &str, text: &str) -> Result<FileDirectory, String> {
    let base = Host::parse("example.com").unwrap();
    FileDirectory::read(text.as_bytes(), Path::new(name), &[base])
        .map_err(|error| error.to_string())
}

fn tenant(directory: &FileDirectory, host: &str) -> Option<std::sync::Arc<Tenant>> {
    match directory.by_host(&Host::parse(host).unwrap()) {
        Answer::Tenant(tenant) => Some(tenant),
        _ => None,
    }
}

const FORMS: [(&str, &str); 3] = [
    (
        "tenants.toml",
        "[[tenant]]\nid = \"acme\"\n[[tenant]]\nid = \"Big Co\"\nhosts = [\"big.example.com\", \"B.example.com\"]\nstate = \"suspended\"\n",
    ),
    (
        "tenants.json",
        "[{\"id\": \"acme\"}, {\"id\": \"Big Co\", \"hosts\": [\"big.example.com\", \"B.example.com\"], \"state\": \"suspended\"}]",
    ),
    (
        "tenants.csv",
        "id,host,state\nacme,,\n# a remark\n\"Big Co\", big.example.com, suspended\nBig Co,B.example.com,suspended\n",
    ),
];

#[test]
fn rows_name_hosts_or_take_their_id_as_label_in_every_format() {
    for (name, text) in FORMS {
        let directory = read(name, text).unwrap();
        let at = |host: &str| tenant(&directory, host);
        assert_eq!(
            at("acme.example.com").unwrap().id.as_str(),
            "acme",
            "{name}"
        );
        assert_eq!(at("b.example.com").unwrap().id.header_value(), "Big%20Co");
        assert_eq!(at("b.example.com").unwrap().state, State::Suspended);
        assert!(at("other.example.com").is_none());
        assert_eq!(directory.len(), Some(2), "{name}");
    }
}

/// File, content and a part of what is said.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "t.toml",
        "[[tenant]]\nid = \"acme\"\n\n[[tenant]]\nid = \"acme\"\n",
        "t.toml:5: a tenant is listed twice: `acme`\n  hint: merge the two rows",
    ),
    (
        "t.toml",
        "[[tenant]]\nid = \"a_b\"\n",
        "t.toml:2: not a host name: `a_b`",
    ),
    (
        "t.toml",
        "[[tenant]]\nid = \"a\"\nhost = \"x y\"\n",
        "t.toml:3: not a host name: `x y`",
    ),
    (
        "t.toml",
        "[[tenant]]\nid=\"a\"\n[[tenant]]\nid=\"b\"\nhosts=[\"a.example.com\"]\n",
        "t.toml:4: a host belongs to two tenants: `a.example.com`",
    ),
    (
        "t.json",
        "[{\"id\": \"a\"}, {\"id\": \"a\"}]",
        "t.json:2: a tenant is listed twice",
    ),
    (
        "t.json",
        "[{\"id\": \"a\"},\n {\"id\": \"b\", \"x\": 1}]",
        "t.json:2: there is no such column: `x`",
    ),
    ("t.json", "{\"id\": \"a\"}", "a list of tenants"),
    ("t.json", "[{\"id\": \"a\"}] x", "trailing characters"),
    (
        "t.csv",
        "id,host\na,x.example.com,active\n",
        "line 2 has 3 values, the header 2",
    ),
    (
        "t.csv",
        "name,host\na,x.example.com\n",
        "t.csv:1: there is no such column: `name`",
    ),
    (
        "t.csv",
        "host\nx.example.com\n",
        "t.csv:2: a row has no `id`",
    ),
    (
        "t.toml",
        "[[tenant]]\nstate = \"active\"\n",
        "t.toml:2: a row has no `id`",
    ),
    (
        "t.csv",
        "id,host,pool\na,x.example.com,eu\na,y.example.com,us\n",
        "t.csv:3: two lines of a tenant differ",
    ),
    (
        "t.csv",
        "id,state\na,asleep\n",
        "t.csv:2: not a state: `asleep`",
    ),
    (
        "t.csv",
        "id,host\na,x y.example.com\n",
        "t.csv:2: not a host name: `x y.example.com`",
    ),
    (
        "t.csv",
        "id,host,state\na,x.example.com,active\nb,x.example.com,active\n",
        "t.csv:3: a host belongs to two tenants",
    ),
    (
        "t.csv",
        "id,host,state\na,x.example.com,active\na,y.example.com,suspended\n",
        "t.csv:3: a tenant has two states",
    ),
];

#[test]
fn mistakes_are_said_with_line_value_and_hint() {
    for &(name, text, part) in MISTAKES {
        let error = read(name, text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    let cut = FileDirectory::read(&b"id,host\na,\xff\n"[..], Path::new("t.csv"), &[]);
    assert!(cut.unwrap_err().to_string().contains("line 2 is not UTF-8"));
}

#[test]
fn every_format_has_every_column() {
    let toml = "[[tenant]]\nid = \"42\"\nslug = \"acme\"\nschema = \"acme_db\"\nhosts = [\"acme.example.com\", \"acme.net\"]\n\
                primary = \"acme.net\"\nstate = \"maintenance\"\nplan = \"gold\"\npool = \"eu\"\nrate = \"50/s\"\n\
                address_rate = 5\nconcurrency = 20\nshare = 40\ncookie_scope = \"warn\"\nbody_size = \"1MiB\"\nallow = [\"192.0.2.0/24\", \"10.0.0.1\"]\n\
                deny = \"10.0.0.0/8\"\nheaders = { X-Theme = \"dark\" }\naccess_log = false\nverified = true\n";
    let json = r#"[{"id": "42", "slug": "acme", "schema": "acme_db", "hosts": ["acme.example.com", "acme.net"],
        "primary": "acme.net", "state": "maintenance", "plan": "gold", "pool": "eu", "rate": "50/s", "address_rate": 5,
        "concurrency": 20, "share": 40, "cookie_scope": "warn", "body_size": "1MiB", "allow": ["192.0.2.0/24", "10.0.0.1"], "deny": "10.0.0.0/8",
        "headers": {"X-Theme": "dark"}, "access_log": false, "verified": true}]"#;
    let columns = "id,slug,schema,state,plan,pool,rate,address_rate,concurrency,share,cookie_scope,body_size,allow,deny,header,access_log,verified";
    let values = "42,acme,acme_db,maintenance,gold,eu,50/s,5,20,40,warn,1MiB,192.0.2.0/24 10.0.0.1,10.0.0.0/8,X-Theme: dark,false,true";
    let csv = format!(
        "{columns},host,is_primary\n{values},acme.example.com,false\n{values},acme.net,true\n"
    );
    let mut tenants = Vec::new();
    for (name, text) in [("t.toml", toml), ("t.json", json), ("t.csv", &csv)] {
        let directory = read(name, text).unwrap();
        for host in ["acme.example.com", "acme.net"] {
            tenants.push(tenant(&directory, host).unwrap());
        }
    }
    let first = tenants.pop().unwrap();
    assert!(tenants.iter().all(|tenant| *tenant == first), "{tenants:?}");
    assert_eq!(first.primary.as_ref().unwrap().as_str(), "acme.net");
    let mut plain = Row::default();
    for (column, value) in columns.split(',').zip(values.split(',')) {
        plain.set(column, value).unwrap();
    }
    assert_eq!(first.attributes, plain.tenant().unwrap().attributes);
    assert_eq!(first.schema.as_ref().unwrap().as_str(), "acme_db");
}
