//! Only the state changes, whatever the file looks like.

use super::super::super::super::id::State;
use super::*;

fn bases() -> [Host; 1] {
    [Host::parse("example.com").unwrap()]
}

fn suspend(name: &str, text: &str, id: &str) -> Result<Edited, EditError> {
    change(text, Path::new(name), &bases(), id, Change::Suspend)
}

/// The text after it, and the number of rows.
#[track_caller]
fn changed(name: &str, text: &str, id: &str) -> (String, usize) {
    match suspend(name, text, id) {
        Ok(Edited::Changed { text, rows }) => (text, rows),
        other => unreachable!("{name}: {text}: {other:?}"),
    }
}

/// File, content with `{…|…}` for what is replaced by what, and the id.
const CASES: &[(&str, &str, &str)] = &[
    (
        "t.toml",
        "# ours\n[[tenant]]\nid = \"a\" # first{|\nstate = \"suspended\"}\nhosts = [ \"x.net\",\n  \"y.net\" ]\n\n\
         [[tenant]]\nid='b'\nstate='active'\n",
        "a",
    ),
    (
        "t.toml",
        "[[tenant]]\nstate =   {'active'|\"suspended\"} # since May\nid='b'\n[tenant.headers]\nX-Theme = \"active\"\n",
        "b",
    ),
    (
        "t.toml",
        "[[tenant]]\r\n  id = \"a\"{|\r\n  state = \"suspended\"}\r\n  [tenant.headers]\r\n  X-Theme = 'dark'\r\n",
        "a",
    ),
    (
        "t.toml",
        "[[tenant]]\nid = \"a\"{|\nstate = \"suspended\"}",
        "a",
    ),
    (
        "t.toml",
        "tenant = [ {id = 'c', slug='x'}, { id = \"a\"{|, state = \"suspended\"}, hosts = [] } ]\n",
        "a",
    ),
    (
        "t.toml",
        "[[tenant]]\nid = 42{|\nstate = \"suspended\"}\nhosts = [\"x.net\"]\n",
        "42",
    ),
    (
        "t.toml",
        "[[tenant]]\nid = \"\"\"\n  b\u{fc}ro\"\"\"{|\nstate = \"suspended\"}\nhosts = [\"x.net\"]\n",
        "b\u{fc}ro",
    ),
    (
        "t.json",
        "[{\"id\":\"a\"{|, \"state\": \"suspended\"}},{\"state\":\"active\",\"id\":\"b\"}]",
        "a",
    ),
    ("t.json", "[ {\"z\\u0069\": 1} ]", ""),
    (
        "t.json",
        "[\n  {\n    \"id\": \"b\",\n    \"hosts\": [\"x.net\"]\n  },\n  {\n    \"id\": \"a\"{|,\n    \"state\": \"suspended\"},\n    \
         \"hosts\": [\"a.net\", \"b.net\"]\n  }\n]\n",
        "a",
    ),
    (
        "t.json",
        "[{\"hosts\": [\"x.net\"], \"slug\": \"\u{fc}\", \"id\": 7, \"st\\u0061te\" : {null|\"suspended\"} , \"headers\": {\"X-A\": \"active\"}}]",
        "7",
    ),
    (
        "t.json",
        "[{\"id\": \"b\"}, {\"id\": \"a\", \"state\": {\"active\"|\"suspended\"}, \"access_log\": false}]\n\n",
        "a",
    ),
    (
        "t.csv",
        "id,host,state\n# a remark, \"with\n\nb,b.net,active\na,a.net,{|suspended}\n\na, c.net ,{\"active\"|suspended} \n# end\n",
        "a",
    ),
    (
        "t.csv",
        "\u{feff}state,id,host\r\n{active|suspended},a,\"a.net\"\r\nactive,b,b.net\r\n",
        "a",
    ),
    (
        "t.csv",
        "id,header,state,host\na,\"X-A: say \"\"active, or\"\" so\",{active|suspended},a.net",
        "a",
    ),
    (
        "t.csv",
        "id, host{|,state}\nb,b.net{|,}\n# remark\na,a.net{|,suspended}\na,\"c.net\"{|,suspended}\n",
        "a",
    ),
];

/// Before and after. A mark has no brace inside: braces of the formats hold more than that, or no `|`.
fn halves(marked: &str) -> (String, String) {
    let (mut before, mut after) = (String::new(), String::new());
    let mut first = true;
    for piece in marked.split('{') {
        let mark = piece.split_once('}').and_then(|(inner, rest)| {
            let (old, new) = inner.split_once('|')?;
            Some((old, new, rest))
        });
        for text in [&mut before, &mut after] {
            text.push_str(if first || mark.is_some() { "" } else { "{" });
        }
        first = false;
        let (old, new, rest) = mark.unwrap_or(("", "", piece));
        before.extend([old, rest]);
        after.extend([new, rest]);
    }
    (before, after)
}

#[test]
fn only_the_state_of_the_tenant_changes() {
    for &(name, marked, id) in CASES {
        if id.is_empty() {
            assert!(matches!(
                suspend(name, marked, "a"),
                Err(EditError::File(_))
            ));
            continue;
        }
        let (before, after) = halves(marked);
        let (text, rows) = changed(name, &before, id);
        assert_eq!(text, after, "{name}");
        let wanted = marked.matches("suspended").count();
        assert_eq!(rows, wanted, "{name}: {marked}");
        assert_eq!(suspend(name, &text, id).unwrap(), Edited::Already);
        // And back: only the word differs then.
        let back = change(&text, Path::new(name), &bases(), id, Change::Resume).unwrap();
        let Edited::Changed { text: back, .. } = back else {
            unreachable!("{name}: {back:?}");
        };
        let words = text.replace("\"suspended\"", "\"active\"");
        assert_eq!(back, words.replace("suspended", "active"), "{name}");
        let again = change(&back, Path::new(name), &bases(), id, Change::Resume).unwrap();
        assert_eq!(again, Edited::Already);
    }
}

#[test]
fn what_is_not_there_or_in_another_state_is_left_alone() {
    for (name, text) in [
        ("t.toml", "[[tenant]]\nid='a'\nstate='deleted'\n"),
        ("t.json", "[{\"id\":\"a\",\"state\":\"deleted\"}]"),
        ("t.csv", "id,state\na,deleted\n"),
    ] {
        let unknown = suspend(name, text, "nobody").unwrap_err();
        assert!(matches!(unknown, EditError::NotListed(_)), "{name}");
        for wanted in [Change::Suspend, Change::Resume] {
            let refused = change(text, Path::new(name), &bases(), "a", wanted).unwrap_err();
            assert!(matches!(
                refused,
                EditError::State {
                    state: State::Deleted,
                    ..
                }
            ));
            assert!(refused.to_string().contains("hint: "), "{refused}");
        }
    }
    // Active because nothing else is said: nothing to resume.
    let text = "[[tenant]]\nid='a'\n";
    let resumed = change(text, Path::new("t.toml"), &bases(), "a", Change::Resume);
    assert_eq!(resumed.unwrap(), Edited::Already);
    let broken = suspend("t.toml", "[[tenant]\n", "a").unwrap_err();
    assert!(matches!(broken, EditError::File(_)));
}
