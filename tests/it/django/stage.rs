//! The proxy as it is in production: a wildcard certificate from an ACME authority, here Pebble, by DNS-01.

use std::path::Path;

use crate::main_line;
use crate::support::django::App;
use crate::support::http::Edge;
use crate::support::knot::Knot;
use crate::support::pebble::Pebble;
use crate::support::portico::Portico;
use crate::support::wait;

/// The proxy before an app, with its authority and its name server.
pub(super) struct Stage {
    pub(super) portico: Portico,
    pub(super) edge: Edge,
    _pebble: Pebble,
    _knot: Knot,
}

impl Stage {
    /// Starts it with these lines of `[tenants]` and gets the certificate; `prepare` may put files into its folder.
    pub(super) async fn set(app: &App, tenants: &str, prepare: impl FnOnce(&Path)) -> Self {
        let knot = Knot::start(&["example.test"]);
        let pebble = Pebble::asking(knot.address()).start();
        let server = match app.address() {
            socket if socket.starts_with("unix:") => socket.to_owned(),
            address => format!("http://{address}"),
        };
        let config = main_line::config(&pebble, &knot, &server);
        let (before, after) = config.split_once("source = \"pattern\"").expect("a source");
        let builder = Portico::with(&format!("{before}apex = \"public\"\n{tenants}\n{after}"));
        main_line::credentials(&builder.folder().join("dns.ini"), knot.address());
        prepare(builder.folder());
        let portico = builder.start_unready();
        main_line::cert(&portico, &["issue"]);
        wait::until("the proxy is ready", || {
            (portico.admin("/readyz").0 == 200).then_some(())
        });
        let edge = portico.edge(&pebble.root().await);
        Self {
            portico,
            edge,
            _pebble: pebble,
            _knot: knot,
        }
    }
}
