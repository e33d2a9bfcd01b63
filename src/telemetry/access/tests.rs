//! Tests of the access log against real files, a full device and a pipe that nobody reads.
#![expect(
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};

use super::*;

fn record() -> AccessRecord<'static> {
    AccessRecord {
        started: UnixMillis(1_795_219_200_007),
        client: IpAddr::from([192, 0, 2, 7]),
        tenant: Some("acme"),
        host: Some("acme.example.com"),
        method: "GET",
        path: b"/orders?page=2",
        protocol: crate::telemetry::Protocol::Http2,
        status: 200,
        bytes_in: 0,
        bytes_out: 1024,
        duration_us: 1234,
        upstream: Some("127.0.0.1:8000"),
        upstream_us: Some(1100),
        request_id: "0123456789abcdef",
        user_agent: Some(b"curl/8"),
        referer: None,
        tls: Some("TLSv1.3"),
        error: None,
    }
}

fn file_log() -> (tempfile::TempDir, PathBuf, AccessLog) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = AccessLog::start(AccessSink::File(path.clone()), Privacy::default()).unwrap();
    (dir, path, log)
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_record_is_one_line_with_the_documented_keys() {
    let (_dir, path, log) = file_log();
    let mut writer = log.writer();
    writer.write(&record());
    drop(writer);
    assert!(log.close(LONG));
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        concat!(
            r#"{"time":"2026-11-21T00:00:00.007Z","client":"192.0.2.7","tenant":"acme","host":"acme.example.com","#,
            r#""method":"GET","path":"/orders?page=2","protocol":"HTTP/2","status":200,"bytes_in":0,"bytes_out":1024,"#,
            r#""duration_us":1234,"upstream":"127.0.0.1:8000","upstream_us":1100,"request_id":"0123456789abcdef","#,
            r#""user_agent":"curl/8","tls":"TLSv1.3"}"#,
            "\n"
        )
    );
}

#[test]
fn hostile_bytes_stay_inside_their_field() {
    let (_dir, path, log) = file_log();
    let mut writer = log.writer();
    writer.write(&AccessRecord {
        tenant: None,
        host: None,
        upstream: None,
        upstream_us: None,
        method: "GET\",\"status\":200,\"x\":\"",
        path: b"/\"}\n{\"forged\":1}\xff\xe2\x80\xa8",
        user_agent: Some(b"\x1b]0;owned\x07"),
        referer: Some(b"\\"),
        error: Some("bad_target"),
        status: 400,
        ..record()
    });
    drop(writer);
    assert!(log.close(LONG));
    let lines = lines(&path);
    let [line] = &lines[..] else {
        unreachable!("one line: {lines:?}")
    };
    let keys: Vec<_> = line
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert!(!keys.contains(&"forged") && !keys.contains(&"x") && !keys.contains(&"tenant"));
    assert_eq!(line["status"], 400);
    assert_eq!(line["path"], "/\"}\n{\"forged\":1}\u{ff}\u{2028}");
    assert_eq!(line["user_agent"], "\u{1b}]0;owned\u{7}");
    assert_eq!(line["error"], "bad_target");
}

#[test]
fn many_workers_lose_nothing_and_tear_no_line() {
    let (_dir, path, log) = file_log();
    thread::scope(|scope| {
        for _worker in 0..4 {
            let mut writer = log.writer();
            scope.spawn(move || {
                for _ in 0..5_000 {
                    writer.write(&record());
                }
                assert_eq!(writer.dropped(), 0);
            });
        }
    });
    assert!(log.close(LONG));
    assert_eq!(lines(&path).len(), 20_000);
}

#[test]
fn a_buffer_comes_back_to_its_worker() {
    let (_dir, path, log) = file_log();
    let mut writer = log.writer();
    writer.write(&record());
    let first = writer.lines.as_ptr();
    writer.flush();
    let deadline = Instant::now() + LONG;
    while lines(&path).is_empty() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    let mut seen = false;
    for _ in 0..1000 {
        writer.write(&record());
        writer.flush();
        seen |= writer.lines.as_ptr() == first;
        thread::sleep(Duration::from_millis(1));
        if seen {
            break;
        }
    }
    assert!(seen);
}

#[test]
fn goes_on_in_a_new_file_after_logrotate() {
    let (dir, path, log) = file_log();
    let rotated = dir.path().join("access.log.1");
    let mut writer = log.writer();
    writer.write(&record());
    writer.flush();
    let deadline = Instant::now() + LONG;
    while lines(&path).is_empty() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    fs::rename(&path, &rotated).unwrap();
    log.reopen().unwrap();
    writer.write(&AccessRecord {
        status: 201,
        ..record()
    });
    drop(writer);
    assert!(log.close(LONG));
    assert_eq!(lines(&rotated).len(), 1);
    assert_eq!(lines(&path)[0]["status"], 201);
}

#[test]
fn a_failed_reopen_keeps_the_open_file() {
    let (dir, path, log) = file_log();
    let moved = dir.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(log.reopen().is_err());
    let mut writer = log.writer();
    writer.write(&record());
    drop(writer);
    assert!(log.close(LONG));
    assert_eq!(lines(&moved).len(), 1);
}

#[test]
fn the_file_is_not_for_everyone() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path, log) = file_log();
    assert_eq!(
        fs::metadata(path).unwrap().permissions().mode() & 0o7137,
        0,
        "nothing beyond 0640"
    );
    assert!(log.close(LONG));
}

#[test]
fn disk_full_is_counted_and_survived() {
    let log = AccessLog::start(AccessSink::File("/dev/full".into()), Privacy::default()).unwrap();
    let mut writer = log.writer();
    writer.write(&record());
    writer.write(&record());
    writer.flush();
    let deadline = Instant::now() + LONG;
    while log.lost() != 2 {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    assert_eq!(writer.dropped(), 0);
    drop(writer);
    assert!(log.close(LONG));
}

#[test]
fn a_reader_that_hangs_costs_records_but_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let mut reader =
        File::from(open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap());
    let log = AccessLog::start(AccessSink::File(path), Privacy::default()).unwrap();
    let mut writer = log.writer();
    let mut written = 0_u64;
    while writer.dropped() == 0 {
        let begun = Instant::now();
        writer.write(&record());
        written += 1;
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert!(written < 100_000, "the queue has to be bounded");
    }
    assert!(
        !AccessLog {
            privacy: Privacy::default(),
            sink: AccessSink::Off,
            running: None
        }
        .writer()
        .is_on()
    );
    // The reader wakes up: everything that was queued arrives, in whole lines.
    let all = thread::spawn(move || {
        let mut text = Vec::new();
        loop {
            match reader.read_to_end(&mut text) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                done => return done.map(|_read| text).unwrap(),
            }
        }
    });
    let dropped = writer.dropped();
    drop(writer);
    assert!(log.close(LONG));
    let text = String::from_utf8(all.join().unwrap()).unwrap();
    assert_eq!(text.lines().count() as u64, written - dropped);
    assert!(
        text.lines()
            .all(|line| line.starts_with('{') && line.ends_with('}'))
    );
}

#[test]
fn off_writes_nothing() {
    let log = AccessLog::start(AccessSink::Off, Privacy::default()).unwrap();
    let mut writer = log.writer();
    assert!(!writer.is_on());
    writer.write(&record());
    writer.flush();
    assert_eq!(
        (writer.lines.capacity(), writer.dropped(), log.lost()),
        (0, 0, 0)
    );
    log.reopen().unwrap();
    assert!(log.close(LONG));
}
