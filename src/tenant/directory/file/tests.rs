//! The formats say the same, and a mistake in any of them is said with its place and a hint.

use super::*;

fn read(name: &str, text: &str) -> Result<FileDirectory, String> {
    let base = Host::parse("example.com").unwrap();
    FileDirectory::read(text.as_bytes(), Path::new(name), &[base])
        .map_err(|error| error.to_string())
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
        let at = |host: &str| directory.by_host(&Host::parse(host).unwrap());
        assert_eq!(
            at("acme.example.com").unwrap().id.as_str(),
            "acme",
            "{name}"
        );
        assert_eq!(at("b.example.com").unwrap().header_value, "Big%20Co");
        assert_eq!(at("b.example.com").unwrap().state, State::Suspended);
        assert!(at("other.example.com").is_none());
        assert_eq!(directory.len(), Some(2), "{name}");
    }
}

#[test]
fn mistakes_are_said_with_line_value_and_hint() {
    for (name, text, part) in [
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
            "[[tenant]]\nid = \"a\"\nhost = \"x\"\n",
            "unknown field `host`",
        ),
        (
            "t.toml",
            "[[tenant]]\nid=\"a\"\n[[tenant]]\nid=\"b\"\nhosts=[\"a.example.com\"]\n",
            "t.toml:5: a host belongs to two tenants: `a.example.com`",
        ),
        (
            "t.json",
            "[{\"id\": \"a\"}, {\"id\": \"a\"}]",
            "t.json:2: a tenant is listed twice",
        ),
        (
            "t.json",
            "[{\"id\": \"a\"},\n {\"id\": \"b\", \"x\": 1}]",
            "unknown field `x`",
        ),
        ("t.json", "{\"id\": \"a\"}", "a list of tenants"),
        ("t.json", "[{\"id\": \"a\"}] x", "trailing characters"),
        (
            "t.csv",
            "id,host\na,x.example.com,active\n",
            "line 2 has 3 values, the header 2",
        ),
        ("t.csv", "name,host\na,x.example.com\n", "line 2: "),
        (
            "t.csv",
            "id,state\na,asleep\n",
            "line 2: unknown variant `asleep`",
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
    ] {
        let error = read(name, text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    let cut = FileDirectory::read(&b"id,host\na,\xff\n"[..], Path::new("t.csv"), &[]);
    assert!(cut.unwrap_err().to_string().contains("line 2 is not UTF-8"));
}
