//! Caps, and connections to addresses that are gone.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;

use bytes::Bytes;
use http_body_util::Empty;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::super::queue::tests::counting;
use super::*;

type Body = Empty<Bytes>;

/// A pool for a server by name.
fn pool(port: u16) -> Rc<Pool<Body>> {
    let server = Server::new(UpstreamAddress::Tcp {
        transport: Transport::Http,
        host: "app.test".to_owned(),
        port,
    });
    Pool::new(server, Rc::default(), Timers::default())
}

fn settings() -> Settings {
    Settings {
        keepalive: Duration::from_secs(60),
        most_idle: 8,
        connect_timeout: Duration::from_secs(5),
        ..Settings::default()
    }
}

/// What is taken and given back wakes those who wait; a worker would ask for ever.
#[test]
fn who_asks_a_full_server_wakes_nobody() {
    for (most_requests, most_connections) in [(Some(1), None), (None, Some(1))] {
        let pool = pool(1);
        pool.configure(
            Settings {
                most_requests,
                most_connections,
                ..settings()
            },
            None,
        );
        assert!(pool.server.begin_request(1) && pool.server.begin_connection(1));
        let (woken, waker) = counting();
        for fresh in [false, true] {
            let wants = Wants {
                fresh,
                ..Wants::default()
            };
            let room = |wants| pool.has_room(wants);
            let mut wait = pin!(pool.queue.wait((None, wants), room, || pool.admit(wants)));
            let mut cx = Context::from_waker(&waker);
            assert!(wait.as_mut().poll(&mut cx).is_pending());
            assert_eq!(woken.load(Relaxed), 0);
            pool.server.end_request();
            pool.server.end_connection();
            assert!(wait.as_mut().poll(&mut cx).is_ready());
            assert!(pool.server.begin_request(1) && pool.server.begin_connection(1));
        }
    }
}

/// A busy connection is met by no tick, so it is looked at when it is given back.
#[tokio::test]
async fn connections_to_addresses_that_are_gone_are_not_used_again() {
    let work = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let pool = pool(address.port());
        pool.configure(settings(), None);
        let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), address.port()));
        for busy in [true, false] {
            pool.server.set_addresses(vec![address]);
            pool.prune(false);
            let Some(Way::Connect(slot, permit)) = pool.admit(Wants::default()) else {
                unreachable!("nothing is kept");
            };
            let lease = pool
                .connect(slot, permit, false, Header::Local)
                .await
                .unwrap();
            lease.give_back();
            // Its driver has to have begun.
            let mut kept = pool.idle.borrow_mut().pop().unwrap().single;
            kept.sender.ready().await.unwrap();
            pool.give_back(kept);
            let Some(Way::Kept(lease)) = pool.admit(Wants::default()) else {
                unreachable!("it leads to the server");
            };
            let busy = if busy {
                Some(lease)
            } else {
                lease.give_back();
                None
            };
            pool.server.set_addresses(vec![elsewhere]);
            pool.prune(false);
            if let Some(lease) = busy {
                lease.give_back();
            }
            assert!(pool.idle.borrow().is_empty());
        }
    };
    LocalSet::new().run_until(work).await;
}
