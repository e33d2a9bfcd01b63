//! The state directory is damaged, full or read-only; the certificate in use stays in use.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::lab::{DOMAIN, DONE, Lab, Run, run};
use crate::support::fault_proxy::Kind;
use crate::support::program;

#[test]
fn case_19_state_json_cut_off_zero_and_garbage() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let serial = lab.serial();
    let path = lab.lineage(DOMAIN).join("state.json");
    let good = fs::read(&path).unwrap();
    let previous = path.with_extension("json.prev");
    for bad in [&good[..good.len() / 2], &[], &[0; 4096], b"\xff\xfe{]"] {
        for both in [false, true] {
            fs::write(&path, bad).unwrap();
            if both {
                fs::write(&previous, bad).unwrap();
            }
            lab.renew().ends(DONE).says("not due");
        }
    }
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 1, "never an order");
    assert_eq!(lab.serial(), serial);
    lab.force().ends(DONE);
    lab.pair();
}

#[test]
fn case_19_ledger_torn() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let path = lab.lineage(DOMAIN).join("txt-ledger.jsonl");
    fs::write(&path, "{\"op\":\"owe\",\"domain\":\"exam").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    lab.renew().ends(DONE);
    lab.force().ends(DONE);
    assert_eq!(lab.left_in_dns(), [""; 0]);
    lab.pair();
}

#[test]
fn case_19_current_dangling_and_gone_and_the_key_readable_by_all() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let serial = lab.serial();
    let link = lab.lineage(DOMAIN).join("current");
    fs::remove_file(&link).unwrap();
    symlink("gen/000099-feedbeef", &link).unwrap();
    assert_eq!(lab.serial(), serial, "the newest good one");
    lab.renew().ends(DONE);
    lab.pair();
    fs::remove_file(&link).unwrap();
    lab.renew().ends(DONE);
    lab.pair();
    let key = link.join("privkey.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    lab.renew().ends(DONE);
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(lab.serial(), serial);
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 1);
}

#[test]
fn case_19_disk_full_and_read_only_before_an_order() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let serial = lab.serial();
    lab.proxy.forget();
    let state = lab.state();
    let state = state.display();
    // The state directory in a small file system of its own, seen by the program alone.
    let copy = format!(
        "cp -a {state} {state}.copy && mount -t tmpfs -o size=256k tmpfs {state} && cp -a {state}.copy/. {state}/"
    );
    let full = "dd if=/dev/zero of=filler bs=1k status=none 2>/dev/null || true";
    let run = mounted(&lab, &format!("{copy}; cd {state}; {full}; cd /"));
    assert_ne!(run.code, Some(DONE), "{}", run.text());
    assert!(run.text().contains("No space left"), "{}", run.text());
    let run = mounted(
        &lab,
        &format!("mount --bind {state} {state} && mount -o remount,bind,ro {state}"),
    );
    assert_ne!(run.code, Some(DONE), "{}", run.text());
    assert!(run.text().contains("Read-only"), "{}", run.text());
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 0);
    assert_eq!(lab.serial(), serial);
    lab.force().ends(DONE);
}

/// `cert renew --force` in a mount namespace of its own, after `prepare`.
fn mounted(lab: &Lab, prepare: &str) -> Run {
    let renew = lab.command(&["cert", "renew", "--force"]);
    let mut line = vec![renew.get_program().display().to_string()];
    line.extend(renew.get_args().map(|arg| arg.display().to_string()));
    let script = format!("set -e\n{prepare}\nexec {}", line.join(" "));
    let mut command = Command::new(program::system("unshare"));
    command.args(["--mount", "--map-root-user", "sh", "-c", &script]);
    run(command)
}
