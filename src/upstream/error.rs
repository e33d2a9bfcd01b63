//! Why an app server gave no answer.

use thiserror::Error;

use super::connect::ConnectError;

/// Why there is no response. Each kind has one status and one label on the request path.
#[derive(Debug, Error)]
pub enum SendError {
    /// No server of the group could be connected to.
    #[error("cannot connect to `{server}`")]
    Connect {
        /// The server tried last.
        server: String,
        /// What went wrong with that one.
        #[source]
        source: ConnectError,
    },
    /// The connection was not made in time.
    #[error("no connection to `{server}` in time")]
    ConnectTimeout {
        /// The server tried last.
        server: String,
    },
    /// Every server is at its limit, and as many requests wait already as may.
    #[error("every server is at its limit, and the queue is full")]
    QueueFull,
    /// The tenant holds its whole share of the group, and as many of its requests wait already as may.
    #[error("the tenant holds its whole share of the servers")]
    ShareSpent,
    /// Every server was at its limit for longer than a request waits.
    #[error("every server was at its limit for too long")]
    QueueTimeout,
    /// The head of the response did not come in time.
    #[error("no answer from `{server}` in time")]
    ResponseTimeout {
        /// The server.
        server: String,
    },
    /// Interim answers (1xx) came, and more of them than are waited for.
    #[error("`{server}` sends interim answers and no final one")]
    TooManyInterim {
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
