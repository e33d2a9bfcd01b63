//! The admin listener's socket: bound before anything starts, so that a taken address is a clear error.
//!
//! Needs no runtime to bind. A socket file is only ever removed if it is a socket that nobody listens on, or our own.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};
use thiserror::Error;

use crate::config::AdminAddress;

/// Why the admin listener cannot be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("another process listens on the admin address: `{0}`")]
    InUse(String),
    /// The path holds something that is not a socket; it is left alone.
    #[error("the admin socket's path holds something else: `{}`", .0.display())]
    NotASocket(PathBuf),
    /// The system says no.
    #[error("the admin address cannot be bound: `{address}`")]
    Io {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A bound admin listener. Dropping it closes it and removes its socket file.
#[derive(Debug)]
pub struct AdminListener {
    socket: Bound,
    file: Option<SocketFile>,
}

#[derive(Debug)]
enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl AdminListener {
    /// Binds the address; `None` if it is `off`.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(address: &AdminAddress) -> Result<Option<Self>, BindError> {
        match address {
            AdminAddress::Off => Ok(None),
            AdminAddress::Tcp(address) => Self::bind_tcp(*address).map(Some),
            AdminAddress::Unix(path) => Self::bind_unix(path).map(Some),
        }
    }

    fn bind_tcp(address: SocketAddr) -> Result<Self, BindError> {
        let listener = std::net::TcpListener::bind(address)
            .map_err(|source| failed(address.to_string(), source))?;
        Ok(Self {
            socket: Bound::Tcp(listener),
            file: None,
        })
    }

    fn bind_unix(path: &Path) -> Result<Self, BindError> {
        let address = format!("unix:{}", path.display());
        let failed = |source| failed(address.clone(), source);
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.to_owned()));
            }
            Ok(_) if is_listened_on(path).map_err(failed)? => {
                return Err(BindError::InUse(address));
            }
            Ok(_) => fs::remove_file(path).map_err(failed)?,
        }
        let listener = std::os::unix::net::UnixListener::bind(path).map_err(failed)?;
        let file = SocketFile::of(path).map_err(failed)?;
        // To connect takes write permission. Until here the umask of the process decides, which in no sane set-up lets
        // others write.
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        Ok(Self {
            socket: Bound::Unix(listener),
            file: Some(file),
        })
    }

    /// The TCP address, with the port that was chosen for port 0.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(_) => None,
        }
    }

    /// Hands the socket to the current runtime. The second value removes the socket file when dropped.
    pub(super) fn into_async(self) -> io::Result<(Socket, Option<SocketFile>)> {
        let socket = match self.socket {
            Bound::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Socket::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            Bound::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Socket::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        };
        Ok((socket, self.file))
    }
}

fn failed(address: String, source: io::Error) -> BindError {
    if source.kind() == ErrorKind::AddrInUse {
        BindError::InUse(address)
    } else {
        BindError::Io { address, source }
    }
}

/// Whether somebody listens on a socket file. Does not wait, even if the listener has hung and its queue is full.
fn is_listened_on(path: &Path) -> io::Result<bool> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Ok(false),
            ErrorKind::WouldBlock => Ok(true),
            _ => Err(error),
        },
    }
}

/// Removes the socket file that was made, unless another one has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let made = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: made.dev(),
            inode: made.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the admin socket's file cannot be removed");
        }
    }
}

/// A listener of the runtime.
pub(super) enum Socket {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// A connection.
pub(super) enum Accept {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Socket {
    pub(super) async fn accept(&self) -> io::Result<Accept> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Accept::Tcp(stream)),
            Self::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Accept::Unix(stream)),
        }
    }
}
