//! What a source knew, on the disk: so that the proxy starts and serves while the source is down.
//!
//! A file of lines: a head that says of what source and when, a row of JSON for each host ([`super::rows`]), and an end with the
//! number of rows and the SHA-256 of all before it. It is written aside, synced and renamed, so a power cut leaves the old one or
//! the new one; and taken whole or not at all. Only its owner may read it, and one that others could have written is not
//! believed. Both ways take the rows one by one, so no second copy of them is in memory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::rows;
use crate::clock::UnixTime;
use crate::host::Host;
use crate::tenant::Tenant;
use crate::tenant::directory::live::add;
use crate::tenant::directory::table::Table;

/// The form that this program writes, and the only one that it reads.
const VERSION: u32 = 1;
/// Largest file that is read or kept: some ten million rows.
const LARGEST: u64 = 2 << 30;
/// Longest line.
const LONGEST_LINE: u64 = 64 << 10;

/// Why rows could not be saved or taken back.
#[derive(Debug, Error)]
pub enum SavedError {
    /// The system.
    #[error(
        "the saved tenants cannot be {what}: `{}`: {source}\n  hint: the folder has to be the proxy's own; see `snapshot`", path.display()
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is in it.
    #[error("the saved tenants are not believed: {reason}: `{}`\n  hint: it is written anew when the source answers", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Where the rows of one source are saved.
#[derive(Debug, Clone)]
pub struct Saved {
    file: PathBuf,
    /// What tells the rows of this source from others that were saved there before.
    of: String,
}

/// Rows as they were saved.
#[derive(Debug)]
pub struct Rows {
    /// The rows.
    pub table: Table,
    /// When they were the source's.
    pub at: UnixTime,
}

#[derive(Serialize, Deserialize)]
struct Head {
    portico_tenants: u32,
    of: String,
    at: UnixTime,
}

#[derive(Serialize, Deserialize)]
struct End {
    rows: u64,
    sha256: String,
}

impl Saved {
    /// The file of the source `name` in `folder`. Rows are taken back only if `of` is the same text: the question that they are
    /// the answer to.
    #[must_use]
    pub fn new(folder: &Path, name: &str, of: &str) -> Self {
        Self {
            file: folder.join(format!("{name}.rows")),
            of: hex(digest(&SHA256, of.as_bytes()).as_ref()),
        }
    }

    /// Saves the rows that `each` hands out, one by one. Returns how many.
    ///
    /// # Errors
    /// [`SavedError`]; what was saved before stays.
    pub fn save(
        &self,
        at: UnixTime,
        each: impl FnOnce(&mut dyn FnMut(&Host, &Tenant)),
    ) -> Result<u64, SavedError> {
        self.write(at, each)
            .map_err(|source| self.io("written", source))
    }

    fn write(
        &self,
        at: UnixTime,
        each: impl FnOnce(&mut dyn FnMut(&Host, &Tenant)),
    ) -> io::Result<u64> {
        let folder = self.file.parent().unwrap_or_else(|| Path::new("."));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let aside = self.file.with_extension("new");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        let mut out = Summed::new(BufWriter::with_capacity(256 << 10, file));
        out.line(&Head {
            portico_tenants: VERSION,
            of: self.of.clone(),
            at,
        })?;
        let (mut count, mut failed) = (0, None);
        each(&mut |host, tenant| {
            if failed.is_none() {
                failed = out.line(&rows::Columns::new(host, tenant)).err();
                count += 1;
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let (mut out, sum) = out.finish();
        let end = End {
            rows: count,
            sha256: sum,
        };
        serde_json::to_writer(&mut out, &end)?;
        out.write_all(b"\n")?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if file.metadata()?.len() > LARGEST {
            return Err(io::Error::other("more than 2 GiB of rows"));
        }
        file.sync_all()?;
        fs::rename(&aside, &self.file)?;
        File::open(folder)?.sync_all()?;
        Ok(count)
    }

    /// The rows that were saved last; `None` if there are none of this source.
    ///
    /// # Errors
    /// [`SavedError`].
    pub fn load(&self, bases: &[Host]) -> Result<Option<Rows>, SavedError> {
        let file = match File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io("read", source)),
        };
        let meta = file.metadata().map_err(|source| self.io("read", source))?;
        if !meta.is_file() || meta.mode() & 0o022 != 0 || meta.len() > LARGEST {
            return Err(self.wrong("not a file that its owner alone may write, or too large"));
        }
        let mut lines = Lines {
            from: BufReader::with_capacity(256 << 10, file),
            line: Vec::new(),
        };
        let mut sum = Context::new(&SHA256);
        let next = |lines: &mut Lines| {
            lines
                .next()
                .map_err(|source| self.io("read", source))?
                .ok_or_else(|| self.wrong("it breaks off"))
        };
        let first = next(&mut lines)?;
        sum.update(&first);
        let head: Head = serde_json::from_slice(&first)
            .map_err(|_form| self.wrong("it has no head of a known form"))?;
        if head.portico_tenants != VERSION || head.of != self.of {
            return Ok(None);
        }
        let mut table = Table::new(bases);
        let mut count = 0;
        loop {
            let line = next(&mut lines)?;
            if line.starts_with(b"{\"rows\":") {
                let end: End = serde_json::from_slice(&line)
                    .map_err(|_form| self.wrong("its end is of no known form"))?;
                let whole = end.rows == count && end.sha256 == hex(sum.finish().as_ref());
                if !whole {
                    return Err(self.wrong("its checksum does not fit"));
                }
                table.finish();
                return Ok(Some(Rows { table, at: head.at }));
            }
            sum.update(&line);
            count += 1;
            self.take(&mut table, &line)?;
        }
    }

    fn take(&self, table: &mut Table, line: &[u8]) -> Result<(), SavedError> {
        let bad = || self.wrong("a row in it is none");
        let text = std::str::from_utf8(line).map_err(|_bytes| bad())?;
        let row = rows::parse(text, &[]).map_err(|_row| bad())?;
        let tenant = row.tenant().ok_or_else(bad)?;
        for host in row.hosts.iter().flatten() {
            add(table, host, &tenant).map_err(|_row| bad())?;
        }
        Ok(())
    }

    fn io(&self, what: &'static str, source: io::Error) -> SavedError {
        SavedError::Io {
            what,
            path: self.file.clone(),
            source,
        }
    }

    fn wrong(&self, reason: &'static str) -> SavedError {
        SavedError::Content {
            path: self.file.clone(),
            reason,
        }
    }
}

/// Lines of a bounded length.
struct Lines {
    from: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    /// The next whole line with its end; `None` when there is none.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.line.clear();
        let mut bounded = (&mut self.from).take(LONGEST_LINE);
        bounded.read_until(b'\n', &mut self.line)?;
        Ok(self.line.ends_with(b"\n").then(|| self.line.clone()))
    }
}

/// A writer that sums up what it has written.
struct Summed<W> {
    out: W,
    sum: Context,
    line: Vec<u8>,
}

impl<W: Write> Summed<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            sum: Context::new(&SHA256),
            line: Vec::new(),
        }
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.sum.update(&self.line);
        self.out.write_all(&self.line)
    }

    fn finish(self) -> (W, String) {
        (self.out, hex(self.sum.finish().as_ref()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::tenant::directory::live::Live;

    const ROWS: [&str; 3] = [
        r#"{"id":"1","host":"a.example.com","primary":"a.net","schema":"a"}"#,
        r#"{"id":"1","host":"a.net","primary":"a.net","schema":"a"}"#,
        r#"{"id":"ü \"2\"","slug":"b","host":"b.example.com","state":"suspended","plan":"gold","pool":"eu","rate":"5/m",
            "address_rate":"2/s","concurrency":7,"body_size":"10MiB","allow":["192.0.2.0/24","2001:db8::/32"],
            "deny":"198.51.100.7","headers":{"X-Theme":"dark, blue","X-Flag":"1"},"access_log":false,"verified":true}"#,
    ];

    fn live() -> Live {
        let bases = [Host::parse("example.com").unwrap()];
        let mut table = Table::new(&bases);
        for json in ROWS {
            let row = rows::parse(json, &bases).unwrap();
            let tenant = row.tenant().unwrap();
            for host in row.hosts.unwrap() {
                add(&mut table, &host, &tenant).unwrap();
            }
        }
        Live::new(table)
    }

    fn text(live: &Live) -> Vec<String> {
        let mut all = Vec::new();
        live.each(|host, tenant| all.push(format!("{host} {tenant:?}")));
        all.sort();
        all
    }

    #[test]
    fn everything_comes_back_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let saved = Saved::new(&folder.path().join("deep/er"), "test", "SELECT 1");
        let bases = [Host::parse("example.com").unwrap()];
        assert!(saved.load(&bases).unwrap().is_none(), "nothing yet");
        let live = live();
        for at in [7, 9] {
            let count = saved.save(UnixTime(at), |visit| live.each(visit)).unwrap();
            assert_eq!(count, 3);
            let back = saved.load(&bases).unwrap().unwrap();
            assert_eq!(back.at, UnixTime(at));
            assert_eq!(text(&Live::new(back.table)), text(&live));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&saved.file), 0o600);
        assert_eq!(mode(saved.file.parent().unwrap()), 0o700);
        let others = Saved::new(&folder.path().join("deep/er"), "test", "SELECT 2");
        assert!(
            others.load(&bases).unwrap().is_none(),
            "of another question"
        );
    }

    #[test]
    fn what_is_broken_or_may_be_anothers_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let saved = Saved::new(folder.path(), "test", "");
        saved.save(UnixTime(7), |visit| live().each(visit)).unwrap();
        let good = fs::read(&saved.file).unwrap();
        let put = |content: &[u8], mode: u32| {
            fs::remove_file(&saved.file).unwrap();
            let mut file = File::create(&saved.file).unwrap();
            file.write_all(content).unwrap();
            file.set_permissions(fs::Permissions::from_mode(mode))
                .unwrap();
        };
        put(&good, 0o600);
        assert!(saved.load(&[]).unwrap().is_some());
        put(&good, 0o620);
        saved.load(&[]).unwrap_err();
        // Cut anywhere, and any byte another one.
        for cut in 0..good.len() {
            put(good.get(..cut).unwrap(), 0o600);
            saved.load(&[]).unwrap_err();
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            *bad.get_mut(at).unwrap() ^= 1;
            put(&bad, 0o600);
            assert!(!matches!(saved.load(&[]), Ok(Some(_))), "byte {at}");
        }
    }
}
