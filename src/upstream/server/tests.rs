//! Health, caps and addresses of a server.

use super::*;

const RULE: Ejection = Ejection {
    failures: 3,
    time: Duration::from_millis(40),
};

fn server() -> Arc<Server> {
    Server::new(UpstreamAddress::Unix("/run/app.sock".into()))
}

#[test]
fn failures_in_a_row_eject_and_a_success_between_does_not() {
    let server = server();
    for _ in 0..10 {
        assert_eq!(server.note_failure(RULE, || true), None);
        assert_eq!(server.note_failure(RULE, || true), None);
        server.note_success();
    }
    assert_eq!(server.note_failure(RULE, || true), None);
    assert_eq!(server.note_failure(RULE, || true), None);
    assert_eq!(server.note_failure(RULE, || true), Some(RULE.time));
    assert_eq!(server.share(Duration::ZERO), 0);
    assert_eq!(server.facts(Duration::ZERO).health, Health::Ejected);
    assert_eq!(
        server.note_failure(RULE, || true),
        None,
        "it is out already"
    );
}

#[test]
fn each_ejection_in_a_row_is_twice_as_long_and_one_failure_is_enough() {
    let server = server();
    for _ in 0..RULE.failures {
        server.note_failure(RULE, || true);
    }
    let mut expected = RULE.time * 2;
    for round in 0..3 {
        server.ejected_until.store(1, Relaxed);
        assert_eq!(
            server.note_failure(RULE, || true),
            Some(expected),
            "{round}"
        );
        expected *= 2;
    }
    server.ejected_until.store(1, Relaxed);
    server.ejections.store(100, Relaxed);
    assert_eq!(server.note_failure(RULE, || true), Some(RULE.time * 32));
    server.ejected_until.store(1, Relaxed);
    assert!(server.end_ejection());
    assert!(!server.end_ejection());
    server.note_success();
    assert_eq!(server.ejections.load(Relaxed), 0);
}

#[test]
fn the_last_server_is_never_left_alone() {
    let server = server();
    for _ in 0..100 {
        assert_eq!(server.note_failure(RULE, || false), None);
    }
    assert_eq!(server.share(Duration::ZERO), FULL_SHARE);
    let never = Ejection {
        failures: 0,
        ..RULE
    };
    assert_eq!(server.note_failure(never, || true), None);
}

#[test]
fn a_server_that_is_back_warms_up() {
    let server = server();
    assert!(server.set_down(true));
    assert!(!server.set_down(true));
    assert_eq!(server.share(Duration::from_secs(60)), 0);
    assert!(server.set_down(false));
    assert_eq!(server.share(Duration::from_secs(60)), LEAST_SHARE);
    assert_eq!(
        server.facts(Duration::from_secs(60)).health,
        Health::Warming
    );
    assert_eq!(server.share(Duration::ZERO), FULL_SHARE);
}

#[test]
fn caps_count_and_figures_are_the_sum_of_the_workers() {
    let server = server();
    assert!(server.begin_request(2) && server.begin_request(2));
    assert!(!server.begin_request(2) && !server.has_room(Some(2)));
    assert!(server.has_room(None));
    server.end_request();
    assert!(server.has_room(Some(2)));
    let (one, two) = (server.count(), server.count());
    one.add_request();
    two.add_request();
    two.add_connection();
    let facts = server.facts(Duration::ZERO);
    assert_eq!((facts.requests, facts.connections), (2, 1));
    drop(two);
    assert_eq!(server.facts(Duration::ZERO).requests, 1);
}

#[test]
fn the_registry_keeps_a_server_as_long_as_it_is_used() {
    let registry = Registry::default();
    let address = UpstreamAddress::Unix("/run/app.sock".into());
    let first = registry.server(&address);
    first.set_down(true);
    assert!(registry.server(&address).is_down());
    drop(first);
    assert!(!registry.server(&address).is_down());
}

#[test]
fn addresses_are_a_set() {
    let server = server();
    let (one, two) = (
        "127.0.0.1:1".parse().unwrap(),
        "127.0.0.2:1".parse().unwrap(),
    );
    assert!(server.set_addresses(vec![one, two]));
    assert!(!server.set_addresses(vec![two, one, two]));
    assert!(server.set_addresses(vec![two]));
}
