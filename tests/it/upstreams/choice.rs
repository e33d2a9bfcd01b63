//! Which server gets a request.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{HOST, ask, gated, state_of};
use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::wait;

#[tokio::test]
async fn upstream_weights_share_the_requests() {
    let (light, heavy) = (Origin::hello(), Origin::hello());
    let site = Site::before(&[light.address(), &format!("{} weight=3", heavy.address())]).start();
    let mut connection = site.edge.connect(Protocol::Http1, HOST).await;
    for _ in 0..400 {
        connection.request("GET", "/").send().await;
    }
    // 100 are expected; the chance to leave these bounds is below one in a million.
    let light = light.requests().len();
    assert!((56..144).contains(&light), "{light} of 400");
    assert_eq!(light + heavy.requests().len(), 400);
    assert_eq!(state_of(&site, heavy.address())["weight"], 3);
}

#[tokio::test]
async fn upstream_load_evens_out() {
    let gate = Arc::new(Semaphore::new(0));
    let (one, two) = (gated(&gate), gated(&gate));
    let site = Site::before(&[one.address(), two.address()])
        .set("server", "workers = 1")
        .start();
    let asked: Vec<_> = (0..20)
        .map(|_| ask(&site, Protocol::Http2, "GET"))
        .collect();
    let counts = wait::until_async("20 requests at the origins", async || {
        let counts = [one.requests().len(), two.requests().len()];
        (counts[0] + counts[1] == 20).then_some(counts)
    })
    .await;
    // Of two, the less loaded is always taken.
    assert_eq!(counts, [10, 10]);
    assert_eq!(state_of(&site, one.address())["requests"], 10);
    gate.add_permits(20);
    for answer in asked {
        assert_eq!(answer.await.unwrap().text(), "through");
    }
    wait::until_async("no request under way", async || {
        (state_of(&site, one.address())["requests"] == 0).then_some(())
    })
    .await;
}
