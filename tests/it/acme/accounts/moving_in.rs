//! An account that another client made, or Portico on another machine, goes on here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{account, account_file, accounts_at_the_ca};
use crate::acme::cases::lab::{DOMAIN, DONE, FAILED, Lab, run};
use crate::support::program;

const MAIL: &str = "ops@example.test";

/// Runs a command that has to succeed.
#[track_caller]
fn done(command: Command) {
    run(command).ends(0);
}

fn import(lab: &Lab, key: &Path) -> crate::acme::cases::lab::Run {
    lab.portico(&["account", "import", "--key", &key.display().to_string()])
}

/// certbot makes an account: its folder.
fn certbot_account(lab: &Lab) -> PathBuf {
    let folder = lab.config_file().with_file_name("certbot");
    let at = folder.display().to_string();
    let mut command = Command::new(program::system("certbot"));
    command
        .args([
            "register",
            "-n",
            "--agree-tos",
            "-m",
            MAIL,
            "--no-eff-email",
        ])
        .args(["--server", &lab.proxy.directory_url()])
        .args(["--config-dir", &at, "--work-dir", &at, "--logs-dir", &at])
        .env("REQUESTS_CA_BUNDLE", lab.proxy.ca_file());
    done(command);
    let mut found = Vec::new();
    find(&folder.join("accounts"), "private_key.json", &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).parent().unwrap().to_owned()
}

fn find(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // certbot links the folders of its older directories.
        if path.is_dir() && !path.is_symlink() {
            find(&path, name, found);
        } else if path.file_name().is_some_and(|file| file == name) {
            found.push(path);
        }
    }
}

#[test]
fn certbots_account_goes_on_here_with_its_rsa_key_and_its_url() {
    let lab = Lab::start();
    let folder = certbot_account(&lab);
    let registered: Value =
        serde_json::from_slice(&fs::read(folder.join("regr.json")).unwrap()).unwrap();
    import(&lab, &folder).ends(DONE);
    let taken = account(&lab);
    assert_eq!(taken["url"], registered["uri"]);
    assert_eq!(taken["key"], "RSA 2048");
    assert_eq!(taken["contact"], MAIL);
    // All of the flow with the RSA key: order, challenges, finalize, download, renewal, revocation.
    lab.renew().ends(DONE);
    let first = lab.pair().serial().to_owned();
    lab.force().ends(DONE);
    lab.portico(&["cert", "revoke", "--serial", &first])
        .ends(DONE)
        .says("is revoked\n");
    assert_eq!(account(&lab), taken);
    // A key of our own kind; the records that name the account stay right.
    lab.portico(&["account", "rollover"]).ends(DONE);
    let rolled = account(&lab);
    assert_eq!(rolled["url"], taken["url"]);
    assert_eq!(rolled["key"], "EC P-256");
    lab.force().ends(DONE);
    assert_eq!(accounts_at_the_ca(&lab), 1);
    // The file alone is as good as the folder, and the CA says that its key is not the account's any more.
    import(&lab, &folder.join("private_key.json"))
        .ends(FAILED)
        .says("has no account with this key")
        .says("hint:");
    assert_eq!(account(&lab), rolled);
}

/// lego registers with a key of this kind and gets no certificate, since nobody sets its TXT record: the account is on
/// the disk before that.
fn legos_account_goes_on_here(kind: &str, shown: &str) {
    let lab = Lab::start();
    let folder = lab.config_file().with_file_name("lego");
    let mut command = Command::new(program::system("lego"));
    command
        .args(["--accept-tos", "--email", MAIL, "--key-type", kind])
        .args(["--server", &lab.proxy.directory_url()])
        .args(["--domains", DOMAIN, "--dns", "manual", "--dns.disable-cp"])
        .args(["--dns.resolvers", &lab.knot.address().to_string()])
        .arg("--path")
        .arg(&folder)
        .arg("run")
        .stdin(std::process::Stdio::null())
        .env("LEGO_CA_CERTIFICATES", lab.proxy.ca_file());
    let run = run(command);
    let mut found = Vec::new();
    find(&folder.join("accounts"), &format!("{MAIL}.key"), &mut found);
    assert_eq!(found.len(), 1, "{found:?} {}", run.text());
    import(&lab, &found[0]).ends(DONE);
    let taken = account(&lab);
    assert_eq!(taken["key"], shown);
    lab.renew().ends(DONE);
    lab.pair();
    assert_eq!(account(&lab), taken);
    assert_eq!(accounts_at_the_ca(&lab), 1, "{kind}");
}

#[test]
fn legos_account_goes_on_here_with_p256() {
    legos_account_goes_on_here("ec256", "EC P-256");
}

#[test]
fn legos_account_goes_on_here_with_p384() {
    legos_account_goes_on_here("ec384", "EC P-384");
}

#[test]
fn legos_account_goes_on_here_with_rsa2048() {
    legos_account_goes_on_here("rsa2048", "RSA 2048");
}

#[test]
fn legos_account_goes_on_here_with_rsa4096() {
    legos_account_goes_on_here("rsa4096", "RSA 4096");
}

#[test]
fn our_own_account_moves_to_another_machine() {
    let old = Lab::start();
    old.renew().ends(DONE);
    let before = account(&old);
    let copy = old.config_file().with_file_name("copy.json");
    fs::copy(account_file(&old), &copy).unwrap();
    // The other machine: the same configuration with an empty state directory.
    fs::remove_dir_all(old.state()).unwrap();
    assert!(account(&old).is_null());
    import(&old, &copy).ends(DONE);
    assert_eq!(account(&old), before);
    old.renew().ends(DONE);
    assert_eq!(accounts_at_the_ca(&old), 1);
}

#[test]
fn what_is_no_account_key_is_refused_with_a_hint_and_changes_nothing() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let before = fs::read(account_file(&lab)).unwrap();
    let posts = lab.proxy.calls().len();
    let folder = lab.config_file().with_file_name("keys");
    fs::create_dir(&folder).unwrap();
    let key = |name: &str, args: &[&str]| {
        let path = folder.join(name);
        let mut command = Command::new(program::system("openssl"));
        done_at(command.args(args).arg("-out").arg(&path));
        path
    };
    let good = key(
        "p256",
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ],
    );
    let from = good.display().to_string();
    let garbage = folder.join("garbage");
    fs::write(
        &garbage,
        "-----BEGIN PRIVATE KEY-----\nbm8=\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    for (path, words) in [
        (
            key("ed25519", &["genpkey", "-algorithm", "ED25519"]),
            "of a kind that CAs do not take",
        ),
        (
            key(
                "rsa1024",
                &[
                    "genpkey",
                    "-algorithm",
                    "RSA",
                    "-pkeyopt",
                    "rsa_keygen_bits:1024",
                ],
            ),
            "RSA from 2048 bits",
        ),
        (
            key(
                "secp256k1",
                &[
                    "genpkey",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    "ec_paramgen_curve:secp256k1",
                ],
            ),
            "of a kind that CAs do not take",
        ),
        (
            key(
                "locked",
                &["pkcs8", "-topk8", "-in", &from, "-passout", "pass:x"],
            ),
            "takes the passphrase off",
        ),
        (
            key("public", &["pkey", "-in", &from, "-pubout"]),
            "no private key",
        ),
        (garbage, "damaged"),
    ] {
        let text = fs::read_to_string(&path).unwrap();
        let refused = import(&lab, &path).ends(FAILED).says(words).says("hint:");
        for line in text.lines().filter(|line| !line.starts_with('-')) {
            assert!(!refused.text().contains(line), "{}", path.display());
        }
    }
    assert_eq!(lab.proxy.calls().len(), posts, "the CA was not asked");
    import(&lab, &good)
        .ends(FAILED)
        .says("has no account with this key");
    assert_eq!(fs::read(account_file(&lab)).unwrap(), before);
    assert_eq!(accounts_at_the_ca(&lab), 1);
}

#[track_caller]
fn done_at(command: &mut Command) {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
}
