//! Looks up the names of app servers. Driven by the control plane; a request looks up only a name that nobody has
//! looked up yet.

use std::io;
use std::net::SocketAddr;

use super::server::Server;
use crate::config::UpstreamAddress;

/// All addresses of a server; none for a Unix socket. The system's resolver works on a thread of its own.
///
/// # Errors
/// What the system's resolver says.
pub async fn look_up(address: &UpstreamAddress) -> io::Result<Vec<SocketAddr>> {
    match address {
        UpstreamAddress::Unix(_) => Ok(Vec::new()),
        UpstreamAddress::Tcp { host, port, .. } => {
            let found = tokio::net::lookup_host((host.as_str(), *port)).await?;
            Ok(found.collect())
        }
    }
}

/// Looks up a server's name again. A look-up that fails, or finds nothing, keeps the addresses there were.
pub async fn refresh(server: &Server) {
    match look_up(server.address()).await {
        Ok(addresses) if addresses.is_empty() => {}
        Ok(addresses) => {
            let count = addresses.len();
            if server.set_addresses(addresses) {
                tracing::info!(server = %server.label(), addresses = count, "the server's name was looked up");
            }
        }
        Err(error) => tracing::warn!(
            server = %server.label(),
            kept = server.addresses().len(),
            "the server's name cannot be looked up: {error}\nhint: `getent ahosts NAME` asks the same resolver; the \
             addresses known before stay in use"
        ),
    }
}

/// Whether the server has a name that can change its addresses.
#[must_use]
pub fn is_name(server: &Server) -> bool {
    matches!(server.address(), UpstreamAddress::Tcp { host, .. } if host.parse::<std::net::IpAddr>().is_err())
}
