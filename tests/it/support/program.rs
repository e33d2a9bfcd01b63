//! Where the programs are that the tests run. A missing one fails the test and says who installs it.

use std::env;
use std::path::{Path, PathBuf};

/// A program of the system, looked for in `PATH` and in the folders of daemons.
pub(crate) fn system(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| missing(name, "PATH"))
}

/// Pebble, from `PORTICO_TEST_PEBBLE` or where `tests/run` puts it.
pub(crate) fn pebble() -> PathBuf {
    cached("PORTICO_TEST_PEBBLE", "pebble/usr/bin/pebble", "")
}

/// libfaketime, for `LD_PRELOAD`: another wall clock for one program.
pub(crate) fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|file| file.is_file())
        .unwrap_or_else(|| missing("libfaketimeMT.so.1", "/usr/lib/*/faketime"))
}

/// A program of the Python environment, from `PORTICO_TEST_VENV` or where `tests/run` puts it.
pub(crate) fn venv(name: &str) -> PathBuf {
    cached("PORTICO_TEST_VENV", "venv", &format!("bin/{name}"))
}

/// A program of gRPC's interop tests, from `PORTICO_TEST_GRPC` or where `tests/run` puts them.
pub(crate) fn grpc(name: &str) -> PathBuf {
    cached("PORTICO_TEST_GRPC", "grpc", name)
}

/// A file of the tests, by its path below `tests/it/support`.
pub(crate) fn support_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/support")
        .join(name)
}

fn cached(variable: &str, default: &str, below: &str) -> PathBuf {
    let base = env::var_os(variable).map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/.cache")
                .join(default)
        },
        PathBuf::from,
    );
    let file = if below.is_empty() {
        base
    } else {
        base.join(below)
    };
    if !file.is_file() {
        missing(&file.display().to_string(), variable);
    }
    file
}

fn missing(program: &str, place: &str) -> ! {
    panic!("`{program}` is missing ({place}): run `tests/run`, which installs it")
}
