//! Between a staging CA and a real one: two Pebbles, of which one has `staging` in its directory's address.

use crate::acme::cases::lab::{BLOCKED, DONE, Lab};
use crate::support::fault_proxy::FaultProxy;
use crate::support::pebble::Pebble;

#[test]
fn a_staging_certificate_takes_the_place_of_a_real_one_only_when_that_is_asked_for() {
    let mut lab = Lab::start();
    let staging = Pebble::asking(lab.knot.address()).start();
    let before_staging = FaultProxy::before(&staging);
    let [real, trial] = [&lab.proxy, &before_staging].map(|proxy| {
        let (url, ca_file) = (proxy.directory_url(), proxy.ca_file().display());
        (url, format!("ca_file = \"{ca_file}\""))
    });
    let trial = (format!("{}?staging", trial.0), trial.1);

    // From nothing, a staging CA is as good as any: that is how one begins.
    let go = |lab: &mut Lab, from: &(String, String), to: &(String, String)| {
        lab.reconfigure(&format!("\"{}\"", from.0), &format!("\"{}\"", to.0));
        lab.reconfigure(&from.1, &to.1);
    };
    go(&mut lab, &real, &trial);
    lab.renew().ends(DONE);
    let first = lab.pair().serial().to_owned();

    // A real one takes its place without being asked.
    go(&mut lab, &trial, &real);
    lab.renew().ends(DONE);
    let second = lab.pair().serial().to_owned();
    assert_ne!(second, first);

    // And back: neither the timer nor a person gets it by mistake, and the staging CA is not asked for anything.
    go(&mut lab, &real, &trial);
    let asked = before_staging.calls().len();
    for verb in [
        &["cert", "renew"][..],
        &["cert", "reconcile"],
        &["cert", "renew", "--force"],
        &["cert", "issue", "--force"],
    ] {
        let refused = lab.portico(verb);
        assert_eq!(refused.code, Some(BLOCKED), "{verb:?}: {}", refused.text());
        refused.says("is a staging CA").says("--allow-staging");
        assert_eq!(lab.pair().serial(), second, "{verb:?}");
    }
    let mut orders = before_staging.calls().split_off(asked);
    orders.retain(|call| call.method == "POST");
    assert!(orders.is_empty(), "{orders:?}");

    lab.portico(&["cert", "renew", "--force", "--allow-staging"])
        .ends(DONE);
    let third = lab.pair().serial().to_owned();
    assert_ne!(third, second);
    // A rollback brings the real one back at once.
    lab.portico(&["cert", "rollback"]).ends(DONE);
    assert_eq!(lab.pair().serial(), second);
}
