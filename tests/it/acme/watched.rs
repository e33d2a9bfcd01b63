//! What somebody who watches sees of real runs: metrics, events, exit codes and alarms, from a running proxy beside the
//! engine. The last parts of case 25 are here: deployment that fails, and an engine that is no more.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::acme::cases::lab::{BLOCKED, DOMAIN, DONE, FAILED, HOUR, Lab};
use crate::support::fault_proxy::{Fault, Kind};
use crate::support::knot::{KEY_NAME, KEY_SECRET};
use crate::support::origin::{Origin, text};
use crate::support::pki::Ca;
use crate::support::portico::Portico;
use crate::support::wait;

const LINEAGE: &str = "{lineage=\"example.test\"}";
const MINUTE: i64 = 60;

/// The proxy of the lab's configuration, which has no certificate yet or one that the lab has got.
fn proxy(lab: &Lab) -> Portico {
    let config = fs::read_to_string(lab.config_file()).unwrap();
    Portico::with(&config).start_unready()
}

/// A metric of the lineage; none if it has no sample.
fn metric(portico: &Portico, name: &str) -> Option<f64> {
    let series = format!("{name}{LINEAGE} ");
    let (_, text) = portico.admin("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(&series));
    line.map(|value| value.parse().unwrap())
}

fn metric_is(portico: &Portico, name: &str, value: f64) {
    wait::until(&format!("{name} is {value}"), || {
        (metric(portico, name) == Some(value)).then_some(())
    });
}

/// A hook that publishes in knot, and stays with the first record for as long as `hold`, a pipe, is there.
fn held_hook(lab: &mut Lab) -> std::path::PathBuf {
    let folder = lab.config_file().with_file_name("hook");
    fs::create_dir(&folder).unwrap();
    let hold = folder.join("hold");
    let script = folder.join("hook.sh");
    let text = format!(
        "#!/bin/sh\ncase $1 in present) verb=add ttl=60;; cleanup) verb=del ttl=;; esac\n\
         knsupdate -y hmac-sha256:{KEY_NAME}:{KEY_SECRET} <<END || exit 1\n\
         server {} {}\nzone {DOMAIN}.\n$verb $2 $ttl TXT $3\nsend\nquit\nEND\n\
         [ $1 = cleanup ] || [ ! -p {hold} ] || cat {hold} > /dev/null\n",
        lab.knot.address().ip(),
        lab.knot.address().port(),
        hold = hold.display(),
    );
    fs::write(&script, text).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&hold).status();
    assert!(made.unwrap().success());
    lab.provider(&format!(
        "provider = \"exec\"\ncommand = [\"/bin/sh\", \"{}\"]",
        script.display()
    ));
    hold
}

#[test]
fn a_run_is_seen_while_it_lasts_and_the_lease_of_a_killed_one_is_not() {
    let mut lab = Lab::start();
    let hold = held_hook(&mut lab);
    let portico = proxy(&lab);
    metric_is(&portico, "portico_acme_lease_held", 0.0);
    let start = |lab: &Lab| {
        let mut command = lab.command(&["cert", "reconcile"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let presenting = "portico_acme_state{lineage=\"example.test\",state=\"presenting\"}";
    let mut run = start(&lab);
    metric_is(&portico, "portico_acme_lease_held", 1.0);
    wait::until("the first record is being published", || {
        (portico.metric(presenting) == 1.0 && !lab.left_in_dns().is_empty()).then_some(())
    });
    // Another run leaves it alone, and looking does no harm.
    assert_eq!(lab.portico(&["cert", "reconcile"]).code, Some(75));
    assert_eq!(metric(&portico, "portico_acme_lease_held"), Some(1.0));

    let pid = Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    run.wait().unwrap();
    metric_is(&portico, "portico_acme_lease_held", 0.0);

    // The next one goes on; the pipe is let go of while it waits there.
    let mut run = start(&lab);
    metric_is(&portico, "portico_acme_lease_held", 1.0);
    let writer = fs::OpenOptions::new().write(true).open(&hold).unwrap();
    fs::remove_file(&hold).unwrap();
    drop(writer);
    assert!(run.wait().unwrap().success());
    metric_is(&portico, "portico_acme_lease_held", 0.0);
    assert_eq!(lab.left_in_dns(), [""; 0]);
}

#[test]
fn every_metric_of_a_renewal_tells_the_truth() {
    let lab = Lab::start();
    let portico = proxy(&lab);
    lab.proxy
        .times(1, Kind::NewOrder, Fault::rate_limited("3600"));
    lab.renew().ends(FAILED);
    wait::until("the limit shows", || {
        (portico.metric("portico_acme_blocked_until_seconds{scope=") > 0.0).then_some(())
    });
    let now = || time::OffsetDateTime::now_utc().unix_timestamp() as f64;
    let near = |name: &str, expected: f64, slack: f64| {
        let value = metric(&portico, name).unwrap_or_else(|| panic!("no {name}"));
        assert!(
            (value - expected).abs() <= slack,
            "{name}: {value}, not {expected}"
        );
    };
    let blocked = portico.metric("portico_acme_blocked_until_seconds{scope=");
    assert!((blocked - now() - 3600.0).abs() < 60.0, "{blocked}");
    near("portico_cert_next_attempt_seconds", blocked, 1.0);
    near("portico_acme_consecutive_failures", 1.0, 0.0);
    assert_eq!(
        portico.metric("portico_acme_failures_total{class=\"limited\""),
        1.0
    );
    assert_eq!(metric(&portico, "portico_cert_last_success_seconds"), None);

    // The limit is over, as it were.
    for file in ["state.json", "state.json.prev"] {
        let _none = fs::remove_file(lab.lineage(DOMAIN).join(file));
    }
    lab.renew().ends(DONE).says("is served");
    let serial = lab.serial().unwrap();
    let served =
        format!("portico_cert_served_info{{lineage=\"{DOMAIN}\",serial=\"{serial}\",node=\"");
    wait::until("it is in service", || {
        (portico.metric(&served) == 1.0).then_some(())
    });
    // The proxy looks at the engine's files from time to time.
    let idle = "portico_acme_state{lineage=\"example.test\",state=\"idle\"}";
    wait::until("the proxy has seen the end of the run", || {
        let released = metric(&portico, "portico_acme_lease_held") == Some(0.0);
        let seen = portico.metric(idle) == 1.0 && released;
        metric(&portico, "portico_cert_last_success_seconds").filter(|_| seen)
    });
    let pair = lab.pair();
    near(
        "portico_cert_not_after_seconds",
        pair.not_after().0 as f64,
        0.0,
    );
    near(
        "portico_cert_not_before_seconds",
        pair.not_before().0 as f64,
        0.0,
    );
    for name in [
        "portico_cert_last_success_seconds",
        "portico_cert_last_attempt_seconds",
    ] {
        near(name, now(), 60.0);
    }
    let beat = portico.metric("portico_acme_heartbeat_seconds ");
    assert!((beat - now()).abs() < 60.0, "{beat}");
    let due = metric(&portico, "portico_cert_renew_at_seconds").unwrap();
    assert!(now() < due && due < pair.not_after().0 as f64, "{due}");
    near("portico_acme_clock_skew_seconds", 0.0, 5.0);
    for name in [
        "portico_acme_consecutive_failures",
        "portico_acme_txt_debt",
        "portico_acme_lease_held",
        "portico_cert_deploy_failed",
        "portico_cert_load_failed",
        "portico_cert_placeholder",
        "portico_cert_level",
    ] {
        near(name, 0.0, 0.0);
    }
    assert_eq!(metric(&portico, "portico_cert_next_attempt_seconds"), None);
    assert_eq!(
        portico.metric("portico_acme_propagation_seconds_count"),
        1.0
    );
    assert_eq!(
        portico.metric("portico_acme_blocked_until_seconds{scope="),
        0.0
    );
    let lag = || portico.metric("portico_cert_gen_lag{lineage=\"example.test\",node=\"");
    assert_eq!(lag(), 0.0);

    // A second one that nobody could load becomes current: the proxy keeps the first, and lags behind.
    let lineage = lab.lineage(DOMAIN);
    let current = lineage.join("current");
    let first = fs::canonicalize(&current).unwrap();
    let name = first.file_name().unwrap().to_str().unwrap();
    let second = first.with_file_name(name.replacen("000001", "000002", 1));
    fs::create_dir(&second).unwrap();
    for entry in fs::read_dir(&first).unwrap().flatten() {
        fs::copy(entry.path(), second.join(entry.file_name())).unwrap();
    }
    fs::write(second.join("fullchain.pem"), "lost").unwrap();
    let aside = lineage.join("aside");
    let target = fs::read_link(&current).unwrap();
    std::os::unix::fs::symlink(target.with_file_name(second.file_name().unwrap()), &aside).unwrap();
    fs::rename(&aside, &current).unwrap();
    wait::until("the proxy says that it lags", || {
        (portico.metric(&served) == 1.0 && lag() == 1.0).then_some(())
    });
    // The next run makes the good one current.
    lab.renew();
    wait::until("nothing lags", || (lag() == 0.0).then_some(()));
}

/// A hook of `acme.on_event` that keeps each event in a line.
fn events(lab: &Lab) -> Vec<Value> {
    let told = fs::read_to_string(lab.config_file().with_file_name("events")).unwrap_or_default();
    let lines = told.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn case_25_deploy_that_fails_exits_1_moves_the_metric_and_is_told_until_it_is_over() {
    let mut lab = Lab::start();
    let told = lab.config_file().with_file_name("events");
    let hook = format!(
        "on_event = [\"/bin/sh\", \"-c\", \"cat >> {}\"]",
        told.display()
    );
    // The way that clients take leads to somebody who serves another certificate.
    let other = Ca::new().leaf(&[DOMAIN, "*.example.test"]);
    let stale = Origin::tls(&other, |_| async { text(200, "old") });
    let probe = format!("deploy_probe = \"{}\"", stale.socket());
    lab.reconfigure("[acme]\n", &format!("[acme]\n{hook}\n{probe}\n"));
    let portico = proxy(&lab);
    let run = lab.portico(&["cert", "issue"]).ends(FAILED);
    let run = run
        .says("new certificate")
        .says("DEPLOY FAILED")
        .says("hint: ");
    assert!(run.took.as_secs() >= 60, "{:?}", run.took);
    metric_is(&portico, "portico_cert_deploy_failed", 1.0);
    metric_is(&portico, "portico_cert_level", 1.0);
    lab.portico(&["cert", "check"])
        .ends(1)
        .says("is not served");
    let kinds = |all: &[Value]| -> Vec<String> {
        let kinds = all.iter().map(|event| event["event"].as_str().unwrap());
        kinds.map(str::to_owned).collect()
    };
    let all = events(&lab);
    assert_eq!(kinds(&all), ["renewed", "deploy_failed"], "{all:?}");
    let serial = lab.serial().unwrap();
    for event in &all {
        assert_eq!(event["lineage"], DOMAIN);
        assert_eq!(event["serial"], serial, "{event}");
        assert!(event["seconds_left"].as_i64().unwrap() > 0);
        for field in ["time", "not_after"] {
            let time = event[field].as_str().unwrap();
            assert!(time.len() == 20 && time.ends_with('Z'), "{event}");
        }
        assert!(
            event["class"].is_null(),
            "nothing of an order failed: {event}"
        );
    }
    let failed = all
        .iter()
        .find(|event| event["event"] == "deploy_failed")
        .unwrap();
    assert_eq!(failed["level"], "warning");
    assert!(
        failed["detail"]
            .as_str()
            .unwrap()
            .contains(&stale.socket().to_string())
            && failed["next"]
                .as_str()
                .unwrap()
                .contains("systemctl restart portico"),
        "{failed}"
    );
    let renewed = all
        .iter()
        .find(|event| event["event"] == "renewed")
        .unwrap();
    assert!(
        renewed["detail"]
            .as_str()
            .unwrap()
            .contains("there is no certificate"),
        "{renewed}"
    );

    // Again: nothing is issued for it, and it is told once. Then the way leads to the proxy.
    let orders = lab.proxy.granted(Kind::NewOrder);
    lab.portico(&["cert", "reconcile"])
        .ends(FAILED)
        .says("not due before");
    assert_eq!(
        (lab.proxy.granted(Kind::NewOrder), events(&lab).len()),
        (orders, 2)
    );
    lab.reconfigure(&probe, "deploy_probe = \"listener\"");
    lab.portico(&["cert", "reconcile"])
        .ends(DONE)
        .says("is served");
    metric_is(&portico, "portico_cert_deploy_failed", 0.0);
    metric_is(&portico, "portico_cert_level", 0.0);
    assert_eq!(kinds(&events(&lab))[2..], ["recovered"]);

    // What only the operator can mend is told as that, with what to do.
    let credentials = lab.config_file().with_file_name("rfc2136.ini");
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o644)).unwrap();
    lab.force().ends(BLOCKED);
    let all = events(&lab);
    let event = all.last().unwrap();
    assert_eq!(
        (&event["event"], &event["class"]),
        (&"blocked".into(), &"blocked".into())
    );
    assert!(
        event["detail"].as_str().unwrap().contains("chmod") && event["serial"] == serial,
        "{event}"
    );
}

#[test]
fn case_25_an_engine_that_runs_no_more_is_an_alarm_after_two_periods() {
    let lab = Lab::start().any_time();
    lab.renew().ends(DONE);
    // The timer fires each quarter of an hour, up to ten minutes late.
    for (minutes, code) in [(0, 0), (39, 0), (41, 1), (23 * 60, 1)] {
        lab.at(minutes * MINUTE);
        let run = lab.portico(&["cert", "check"]).ends(code);
        if code == 1 {
            run.says("CERT WARNING").says("the renewal last ran ");
        }
    }
    let level = |lab: &Lab| lab.status(DOMAIN)["level"].clone();
    assert_eq!(level(&lab), "warning");
    lab.at(25 * HOUR);
    assert_eq!(level(&lab), "page");

    // The proxy tells it as well, while it serves on.
    let config = fs::read_to_string(lab.config_file()).unwrap();
    let mut late = Portico::with(&config);
    for (name, value) in crate::acme::cases::lab::faketime(&format!("+{}s", 41 * MINUTE)) {
        late = late.env(name, &value);
    }
    let late = late.start();
    assert_eq!(metric(&late, "portico_cert_level"), Some(1.0));
    assert!(
        late.admin("/status")
            .1
            .contains("the renewal last ran 41m ago")
    );
    lab.at(41 * MINUTE);
    lab.renew().ends(DONE);
    metric_is(&late, "portico_cert_level", 0.0);
}
