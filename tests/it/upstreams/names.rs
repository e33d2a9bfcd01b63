//! Servers by name.

use super::{HOST, state_of};
use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::wait;

#[tokio::test]
async fn upstream_a_name_is_looked_up_beside_the_requests() {
    let origin = Origin::hello();
    let name = format!("localhost:{}", origin.socket().port());
    let site = Site::before(&[&name])
        .set("upstream", "resolve_interval = \"250ms\"")
        .start();
    wait::until("the look-up", || {
        let addresses = state_of(&site, &name)["addresses"].clone();
        let addresses = addresses.as_array().unwrap().clone();
        addresses
            .iter()
            .any(|address| address == origin.address())
            .then_some(())
    });
    for protocol in Protocol::BOTH {
        assert_eq!(site.edge.get(protocol, HOST, "/").await.text(), "hello");
    }
}
