//! Why an app server gave no answer.

use std::io;

use thiserror::Error;

/// Why there is no response. Each kind has one status and one label on the request path.
#[derive(Debug, Error)]
pub enum SendError {
    /// No server of the group accepts connections.
    #[error("cannot connect to `{server}`")]
    Connect {
        /// The server tried last.
        server: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection was not made in time.
    #[error("no connection to `{server}` in time")]
    ConnectTimeout {
        /// The server tried last.
        server: String,
    },
    /// The head of the response did not come in time.
    #[error("no answer from `{server}` in time")]
    ResponseTimeout {
        /// The server.
        server: String,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("the exchange with `{server}` failed")]
    Exchange {
        /// The server.
        server: String,
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
}
