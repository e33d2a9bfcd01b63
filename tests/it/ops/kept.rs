//! Old certificates that stay because a proxy serves them.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::{NAMES, TIMER};
use crate::support::pki::Ca;
use crate::support::portico::{Portico, portico_cmd};
use crate::support::wait;

fn generations(portico: &Portico) -> Vec<String> {
    let folder = portico.folder().join("state/certs/example.test/gen");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .map(|name| name.split('-').next().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn served(portico: &Portico) -> Option<u64> {
    let status: serde_json::Value = serde_json::from_str(&portico.admin("/status").1).ok()?;
    status["certificates"][0]["generation"].as_u64()
}

#[tokio::test]
async fn what_a_running_proxy_serves_is_kept_and_goes_once_it_serves_the_next() {
    let ca = Ca::new();
    let mut portico = Portico::with(TIMER).start_unready();
    let file = portico.config_file().display().to_string();
    let import = |portico: &Portico| {
        let (cert, key) = ca.leaf(&NAMES).write(&portico.folder().join("import"));
        let [cert, key] = [cert, key].map(|path| path.display().to_string());
        let done = portico_cmd(&[
            "cert", "import", "--config", &file, "--cert", &cert, "--key", &key,
        ]);
        assert!(done.status.success(), "{done:?}");
    };
    import(&portico);
    wait::until("the first is in service", || {
        (served(&portico) == Some(1)).then_some(())
    });
    // It cannot take any other for now.
    let signal = |portico: &Portico, signal| {
        let pid = Pid::from_raw(i32::try_from(portico.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    };
    signal(&portico, Signal::STOP);
    for _ in 2..=8 {
        import(&portico);
    }
    let all = generations(&portico);
    signal(&portico, Signal::CONT);
    assert_eq!(
        all,
        ["000001", "000004", "000005", "000006", "000007", "000008"]
    );
    wait::until("it has caught up", || {
        (served(&portico) == Some(8)).then_some(())
    });
    import(&portico);
    assert_eq!(
        generations(&portico),
        ["000005", "000006", "000007", "000008", "000009"]
    );
    // Killed, it serves nothing any more, and leaves no mark that it did.
    wait::until("the ninth is in service", || {
        (served(&portico) == Some(9)).then_some(())
    });
    portico.sigkill();
    portico.wait_exit();
    for _ in 10..=15 {
        import(&portico);
    }
    assert_eq!(generations(&portico)[0], "000011");
}
