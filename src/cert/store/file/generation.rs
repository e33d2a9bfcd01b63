//! One generation on the disk: written aside and proven before anybody can see it, read back with its checksums.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::super::{Meta, NewGeneration, StoreError, Stored};
use super::{failed, lock};
use crate::cert::bundle::Bundle;
use crate::cert::sealed;
use crate::cert::{disk, failpoint};
use crate::clock::UnixTime;

/// The checksums of the other files, as `sha256sum` writes them.
const MANIFEST: &str = "MANIFEST";
/// Its presence says that others know the key.
const COMPROMISED: &str = "COMPROMISED";

/// Writes a generation that is not current yet. The caller holds the lineage's lock.
pub(super) fn write(
    lineage: &Path,
    number: u64,
    new: &NewGeneration,
    bundle: &Bundle,
) -> Result<Stored, StoreError> {
    let all = lineage.join("gen");
    disk::create_dir(&all, disk::GROUP_DIR).map_err(failed("make", &all))?;
    sweep(&all)?;
    let name = name(number, bundle);
    let (aside, directory) = (all.join(format!(".{name}.new")), all.join(&name));
    disk::create_dir(&aside, disk::GROUP_DIR).map_err(failed("make", &aside))?;
    let meta = serde_json::to_vec_pretty(&new.meta)
        .map_err(|error| failed("write", &aside)(error.into()))?;
    let files: [(&str, &[u8], u32); 4] = [
        ("privkey.pem", new.key.as_bytes(), disk::GROUP_KEY),
        ("fullchain.pem", new.fullchain.as_bytes(), disk::PUBLIC),
        (
            "chain.pem",
            issuers(&new.fullchain).as_bytes(),
            disk::PUBLIC,
        ),
        ("meta.json", &meta, disk::PUBLIC),
    ];
    let mut manifest = String::new();
    for (file, content, mode) in files {
        manifest.push_str(&format!("{}  {file}\n", sealed::hexadecimal(content)));
        let file = aside.join(file);
        disk::write(&file, content, mode).map_err(failed("write", &file))?;
        failpoint::hit(failpoint::GENERATION_HALF_WRITTEN);
    }
    let file = aside.join(MANIFEST);
    disk::write(&file, manifest.as_bytes(), disk::PUBLIC).map_err(failed("write", &file))?;
    fs::rename(&aside, &directory).map_err(failed("make", &directory))?;
    disk::sync_dir(&all).map_err(failed("sync", &all))?;
    // Read back before anybody can see it: what is not whole on the disk never becomes current.
    let generation = Generation {
        number,
        path: directory,
    };
    generation.load()
}

/// Makes a generation the one that is served, in one step for every reader.
pub(super) fn make_current(lineage: &Path, stored: &Stored) -> Result<(), StoreError> {
    let link = lineage.join("current");
    set_aside(&link)?;
    let name = name(stored.generation, &stored.bundle);
    disk::switch_link(&link, &Path::new("gen").join(name)).map_err(failed("switch", &link))
}

fn name(number: u64, bundle: &Bundle) -> String {
    let serial: String = bundle.serial().chars().take(8).collect();
    format!("{number:06}-{serial}")
}

/// One generation's directory.
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) path: PathBuf,
}

impl Generation {
    pub(super) fn at(path: &Path) -> Result<Self, StoreError> {
        let strange = || {
            failed("read", path)(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a generation's name",
            ))
        };
        Ok(Self {
            number: number_of(path).ok_or_else(strange)?,
            path: path.to_owned(),
        })
    }

    pub(super) fn load(&self) -> Result<Stored, StoreError> {
        let read = |name: &str| {
            let path = self.path.join(name);
            fs::read(&path).map_err(failed("read", &path))
        };
        let key_path = self.path.join("privkey.pem");
        guard(&key_path).map_err(failed("use", &key_path))?;
        let key = zeroize::Zeroizing::new(read("privkey.pem")?);
        self.check_manifest()?;
        let bundle =
            Bundle::parse(&read("fullchain.pem")?, &key).map_err(|error| StoreError::Bad {
                path: self.path.clone(),
                error,
            })?;
        let meta: Meta = read("meta.json")
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Ok(Stored {
            bundle,
            generation: self.number,
            meta,
            compromised: self.path.join(COMPROMISED).exists(),
            instead_of: None,
        })
    }

    /// Says that this generation is served, by a shared lock on its chain. It takes no right to write.
    pub(super) fn hold(&self) -> Option<lock::Held> {
        lock::hold(self.open_chain()?)
    }

    fn open_chain(&self) -> Option<File> {
        File::open(self.path.join("fullchain.pem")).ok()
    }

    fn is_in_force(&self, now: UnixTime) -> bool {
        self.load()
            .is_ok_and(|stored| stored.bundle.not_after() > now)
    }

    /// Notes that others know the key, for ever.
    pub(super) fn mark_compromised(&self) -> Result<(), StoreError> {
        let path = self.path.join(COMPROMISED);
        let text =
            b"the key of this certificate is known to others; it is never made current again\n";
        disk::write(&path, text, disk::PUBLIC).map_err(failed("write", &path))
    }

    /// Whether each file is what was written. Older generations have no manifest.
    fn check_manifest(&self) -> Result<(), StoreError> {
        let path = self.path.join(MANIFEST);
        let Some(manifest) = disk::read_if_there(&path).map_err(failed("read", &path))? else {
            return Ok(());
        };
        for line in String::from_utf8_lossy(&manifest).lines() {
            let (sum, name) = line.split_once("  ").unwrap_or_default();
            let file = self.path.join(name);
            let content = zeroize::Zeroizing::new(fs::read(&file).map_err(failed("read", &file))?);
            if sealed::hexadecimal(&content) != sum {
                return Err(StoreError::Altered(file));
            }
        }
        Ok(())
    }
}

/// Takes from others what they may do with a key.
fn guard(key: &Path) -> io::Result<()> {
    let mode = fs::metadata(key)?.permissions().mode();
    if mode & 0o037 == 0 {
        return Ok(());
    }
    fs::set_permissions(key, fs::Permissions::from_mode(mode & 0o740)).map_err(|error| {
        let text = format!(
            "others may read it (mode {:03o}); hint: chmod 640 it ({error})",
            mode & 0o777
        );
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    })?;
    tracing::warn!(path = %key.display(), "others could read this key; its mode was tightened to 640");
    Ok(())
}

/// The generations of a lineage, oldest first.
pub(super) fn all(path: &Path) -> Result<Vec<Generation>, StoreError> {
    let folder = path.join("gen");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", &folder)(error)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut all: Vec<_> = paths
        .filter_map(|path| {
            Some(Generation {
                number: number_of(&path)?,
                path,
            })
        })
        .collect();
    all.sort_by_key(|generation| generation.number);
    Ok(all)
}

/// 123 for `000123-0a1b2c3d`; none for what a crash left (`.000123-0a1b2c3d.new`).
pub(super) fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}

/// Removes what a crash left in the middle of a generation. The caller holds the lock.
fn sweep(all: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(all).map_err(failed("read", all))?.flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with('.'))
        {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

/// Makes room for the link where a restored backup put a directory. Its content stays, beside.
fn set_aside(link: &Path) -> Result<(), StoreError> {
    if !fs::symlink_metadata(link).is_ok_and(|facts| facts.is_dir()) {
        return Ok(());
    }
    let aside = link.with_file_name("current.before");
    tracing::warn!(path = %link.display(), "a directory stands where a link is needed; it is moved to `current.before`");
    fs::rename(link, &aside).map_err(failed("move", link))
}

/// Removes the oldest generations, but for those that are served somewhere on this machine and not over yet. That one
/// cannot be removed is no reason to fail: the new one is in service.
pub(super) fn prune(path: &Path, current: u64, keep: usize) {
    let found = all(path).unwrap_or_default();
    let surplus = found.len().saturating_sub(keep);
    let now = UnixTime::now();
    for generation in found
        .into_iter()
        .filter(|generation| generation.number != current)
        .take(surplus)
    {
        // Ours while it is being removed, so that nobody begins to serve it.
        let chain = generation.open_chain();
        if chain.as_ref().is_some_and(lock::is_held) && generation.is_in_force(now) {
            tracing::info!(path = %generation.path.display(), "an old certificate is still served and stays");
            continue;
        }
        if let Err(error) = fs::remove_dir_all(&generation.path) {
            tracing::warn!(path = %generation.path.display(), %error, "cannot remove an old certificate");
        }
    }
}

/// The chain without its leaf.
fn issuers(fullchain: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----";
    fullchain
        .split_once(END)
        .map_or("", |(_, rest)| rest.trim_start())
}
