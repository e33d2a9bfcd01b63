//! `portico tenant suspend` and `resume` in a file of tenants, while a proxy serves by it and without one.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http_source::outcome;
use crate::support::origin::Origin;
use crate::support::portico::portico_cmd;
use crate::support::site::Site;
use crate::support::{postgres, program, wait};

/// A list, and the same with acme suspended. acme has two hosts; in CSV that is two lines.
const LISTS: [(&str, &str, &str); 3] = [
    (
        "tenants.toml",
        "# ours\n[[tenant]]\nid = \"42\" # acme\nslug = \"acme\"\nhosts = [ \"acme.example.test\",\n  \"shop.example.test\" ]\n\n\
         [[tenant]]\nid = \"globex\"\nstate = 'active'\n[[tenant]]\nid = \"gone\"\nstate = \"deleted\"\n",
        "# ours\n[[tenant]]\nid = \"42\" # acme\nstate = \"suspended\"\nslug = \"acme\"\nhosts = [ \"acme.example.test\",\n  \
         \"shop.example.test\" ]\n\n\
         [[tenant]]\nid = \"globex\"\nstate = 'active'\n[[tenant]]\nid = \"gone\"\nstate = \"deleted\"\n",
    ),
    (
        "tenants.json",
        "[\n  {\"state\": \"active\", \"slug\": \"acme\", \"id\": 42, \"hosts\": [\"acme.example.test\", \"shop.example.test\"]},\n  \
         {\"id\": \"globex\"}, {\"id\": \"gone\", \"state\": \"deleted\"}\n]",
        "[\n  {\"state\": \"suspended\", \"slug\": \"acme\", \"id\": 42, \"hosts\": [\"acme.example.test\", \"shop.example.test\"]},\n  \
         {\"id\": \"globex\"}, {\"id\": \"gone\", \"state\": \"deleted\"}\n]",
    ),
    (
        "tenants.csv",
        "slug,id,host,state\n# acme\nacme,42,acme.example.test,\n,globex,,active\nacme,42, shop.example.test,\"active\"\n,gone,,deleted\n",
        "slug,id,host,state\n# acme\nacme,42,acme.example.test,suspended\n,globex,,active\nacme,42, shop.example.test,suspended\n,gone,,deleted\n",
    ),
];

/// A site by a list of its own.
struct Case {
    site: Site,
    list: PathBuf,
    folder: TempDir,
}

impl Case {
    fn new(origin: &Origin, name: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join(name);
        fs::write(&list, text).unwrap();
        let file = list.display().to_string();
        let site = Site::before(&[origin.address()])
            .set("tenants", "source = \"file\"")
            .set("tenants", &format!("file = {file:?}"))
            .start();
        Self { site, list, folder }
    }

    fn args<'a>(&self, verb: &'a [&'a str], config: &'a str) -> Vec<&'a str> {
        [&["tenant"], verb, &["--config", config]].concat()
    }

    fn run(&self, verb: &[&str]) -> Output {
        let config = self.site.portico.config_file().display().to_string();
        portico_cmd(&self.args(verb, &config))
    }

    /// By a user who may read everything and write only what is its own: root may write everything.
    fn run_unprivileged(&self, verb: &[&str]) -> Output {
        let config = self.site.portico.config_file().display().to_string();
        let portico = env!("CARGO_BIN_EXE_portico");
        let mut command = match postgres::owner() {
            Some((user, group)) => {
                let mut command = Command::new(program::system("setpriv"));
                command
                    .args([format!("--reuid={user}"), format!("--regid={group}")])
                    .arg("--clear-groups")
                    .args(["--inh-caps=+dac_read_search"])
                    .args(["--ambient-caps=+dac_read_search", portico]);
                command
            }
            None => Command::new(portico),
        };
        command.args(self.args(verb, &config)).output().unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.list).unwrap()
    }

    async fn until(&self, host: &str, wanted: &str) {
        wait::until_async(&format!("{host}: {wanted}"), async || {
            (outcome(&self.site, host).await == wanted).then_some(())
        })
        .await;
    }

    /// What is in the list's folder.
    fn files(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count()
    }
}

#[track_caller]
fn words(output: &Output, code: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let words = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words}");
    words
}

/// What tells one file from another, and who may do what with it.
fn facts(path: &Path) -> (u64, i64, u32, u32, u32) {
    let facts = fs::metadata(path).unwrap();
    (
        facts.ino(),
        facts.mtime_nsec(),
        facts.mode(),
        facts.uid(),
        facts.gid(),
    )
}

#[tokio::test]
async fn suspend_and_resume_change_the_row_and_the_running_proxy_follows() {
    for (name, before, after) in LISTS {
        let origin = Origin::hello();
        let case = Case::new(&origin, name, before);
        fs::set_permissions(&case.list, Permissions::from_mode(0o640)).unwrap();
        postgres::give(&case.list);
        let (.., mode, user, group) = facts(&case.list);
        for host in ["acme.example.test", "shop.example.test"] {
            case.until(host, "200 app").await;
        }
        // By its slug.
        let said = words(&case.run(&["suspend", "acme"]), 0);
        let expected = "tenant `42` was active and is suspended now";
        assert!(said.contains(expected), "{name}: {said}");
        assert_eq!(case.text(), after, "{name}");
        let suspended = facts(&case.list);
        assert_eq!((suspended.2, suspended.3, suspended.4), (mode, user, group));
        assert_eq!(case.files(), 1, "nothing stays beside it");
        for host in ["acme.example.test", "shop.example.test"] {
            case.until(host, "402 suspended").await;
        }
        assert_eq!(outcome(&case.site, "globex.example.test").await, "200 app");

        // What is so already is not written again.
        let said = words(&case.run(&["suspend", "42"]), 0);
        assert!(said.contains("suspended already"), "{said}");
        assert_eq!(facts(&case.list), suspended, "{name}");
        for (verb, id, part) in [
            ("suspend", "nobody", "no tenant of the file has this id"),
            ("resume", "nobody.example.test", "no tenant of the file"),
            ("suspend", "gone", "tenant `gone` is deleted"),
            ("resume", "gone", "tenant `gone` is deleted"),
        ] {
            let said = words(&case.run(&[verb, id]), 2);
            assert!(said.contains(part) && said.contains("hint: "), "{said}");
        }
        assert_eq!(facts(&case.list), suspended, "{name}");

        // And back, by a host.
        let output = case.run(&["resume", "shop.example.test", "--json"]);
        let told: Value = serde_json::from_str(&words(&output, 0)).unwrap();
        let rows = if name.ends_with("csv") { 2 } else { 1 };
        let expected = json!({
            "changed": true, "id": "42", "state": "active", "file": case.list, "rows": rows
        });
        assert_eq!(told, expected);
        case.until("shop.example.test", "200 app").await;
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_stays_as_it_was() {
    let origin = Origin::hello();
    let [(name, before, after), ..] = LISTS;
    let mut case = Case::new(&origin, name, before);
    postgres::give(case.folder.path());
    postgres::give(&case.list);
    let as_it_was = facts(&case.list);
    let refused = |case: &Case| {
        let said = words(&case.run_unprivileged(&["suspend", "acme"]), 1);
        for part in [
            "cannot write the tenant file",
            name,
            "it is as it was",
            "hint: ",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert_eq!(case.text(), before);
        assert_eq!(case.files(), 1, "nothing stays beside it");
    };
    // No file can be made beside it.
    fs::set_permissions(case.folder.path(), Permissions::from_mode(0o555)).unwrap();
    refused(&case);
    fs::set_permissions(case.folder.path(), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(facts(&case.list), as_it_was);
    // It would be another's: only root can make such a case.
    if postgres::owner().is_some() {
        std::os::unix::fs::chown(&case.list, Some(0), Some(0)).unwrap();
        refused(&case);
        postgres::give(&case.list);
    }
    // A file that is broken is not made worse.
    let broken = format!("{before}[[tenant]]\nid = \"42\"\n");
    fs::write(&case.list, &broken).unwrap();
    let said = words(&case.run(&["suspend", "acme"]), 2);
    assert!(said.contains("a tenant is listed twice"), "{said}");
    assert_eq!(case.text(), broken);
    // The control: the same user, where it may; and no proxy need run.
    fs::write(&case.list, before).unwrap();
    case.site.portico.sigterm();
    case.site.portico.wait_exit();
    words(&case.run_unprivileged(&["suspend", "acme"]), 0);
    assert_eq!(case.text(), after);
}

#[tokio::test]
async fn many_at_once_lose_nothing_and_a_link_stays_one() {
    let origin = Origin::hello();
    let tenants: Vec<String> = (0..8).map(|number| format!("t{number}")).collect();
    let row = |id: &String| format!("[[tenant]]\nid = {id:?}\n");
    let text: String = tenants.iter().map(row).collect();
    let case = Case::new(&origin, "tenants.toml", &text);
    let real = case.folder.path().join("real.toml");
    fs::rename(&case.list, &real).unwrap();
    symlink("real.toml", &case.list).unwrap();
    std::thread::scope(|scope| {
        for tenant in &tenants {
            let case = &case;
            scope.spawn(move || words(&case.run(&["suspend", tenant]), 0));
        }
    });
    let expected: String = tenants
        .iter()
        .map(|id| row(id) + "state = \"suspended\"\n")
        .collect();
    assert_eq!(fs::read_to_string(&real).unwrap(), expected);
    assert_eq!(fs::read_link(&case.list).unwrap(), Path::new("real.toml"));
    assert_eq!(case.files(), 2);
    case.until("t7.example.test", "402 suspended").await;
}
