//! D07 to D09: many clients that are slow on purpose. The proxy stays small, others are served, and each is ended.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::support::attack::Watch;
use crate::support::origin::Origin;
use crate::support::port;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};

/// Attackers at once.
const MANY: usize = 400;

fn site(origin: &Origin) -> Site {
    Site::before(&[origin.address()])
        .set("limits", "connections_per_address = 0")
        .set("limits", "header_timeout = \"2s\"")
        .set("limits", "body_timeout = \"2s\"")
        .start()
}

#[tokio::test]
async fn d07_slowloris() {
    let origin = Origin::hello();
    let site = site(&origin);
    let watch = Watch::start(&site).await;
    let mut attackers = JoinSet::new();
    let address = port::local(site.portico.https_port());
    for _ in 0..MANY {
        let config = site.ca.trust().config(Alpn::Http1);
        attackers.spawn(async move {
            let stream = tls::connect(address, "acme.example.test", config).await;
            let (mut read, mut write) = tokio::io::split(stream.unwrap());
            let drip = async {
                for byte in b"GET / HTTP/1.1\r\nHost: acme.example.test\r\nX-Slow: "
                    .iter()
                    .cycle()
                {
                    if write.write_all(&[*byte]).await.is_err() || write.flush().await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                std::future::pending::<()>().await;
            };
            let mut answer = Vec::new();
            tokio::select! {
                _end = read.read_to_end(&mut answer) => {}
                () = drip => {}
            }
            answer
        });
    }
    let mut ended = 0;
    while let Some(answer) = attackers.join_next().await {
        assert_eq!(answer.unwrap(), b"", "no answer to half a head");
        ended += 1;
    }
    assert_eq!(ended, MANY);
    watch.enough().await;
    watch.finish().await.assert_held("slowloris");
}
