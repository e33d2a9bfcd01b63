//! Whose a name is: nothing is ordered before the tenant has published what only it was told.

use super::{NAME, Rig, words};
use crate::support::knot::{Knot, zone_text};
use crate::support::{port, wait};

pub(super) fn own_record(rig: &Rig, tenant: &str) -> String {
    let printed = rig.cert(&["ownership", "--domain", NAME, "--tenant", tenant]);
    assert!(printed.status.success(), "{}", words(&printed));
    String::from_utf8(printed.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_ordered_before_the_txt_record_of_this_tenant_is_there() {
    let dns = port::local(port::free());
    // An address of its own: the record below the name would hide it from the wildcard (RFC 4592).
    let customer = format!("{}www A 127.0.0.1\n", zone_text("customer.test"));
    let zones = [
        ("example.test", zone_text("example.test")),
        ("customer.test", customer),
    ];
    let knot = Knot::at(dns, &zones);
    let rig = Rig::asking(dns, "timer", "proof = \"txt\"");
    let _portico = rig.portico();
    rig.rows(&[("acme", &[NAME])]);
    wait::until("a wish", || rig.wanted(NAME).exists().then_some(()));
    let text = rig.reconcile();
    assert!(text.contains("there is no TXT record"), "{text}");
    let own = rig.domains(Some(NAME));
    assert_eq!(own["standing"], "unproven", "{own}");
    let record = own_record(&rig, "acme");
    let (name, value) = record.split_once(" 3600 IN TXT ").unwrap();
    let hint = own["detail"].as_str().unwrap();
    assert!(hint.contains(value), "{hint}");
    let status = words(&rig.cert(&["status"]));
    assert!(
        status.contains("1 unproven") && status.contains(value),
        "{status}"
    );
    // What another tenant was told is worth nothing.
    let stranger = own_record(&rig, "globex");
    let publish = |verb: &str, line: &str| {
        let line = format!("{verb} {}", line.replace(" IN TXT ", " TXT "));
        let done = knot.update("customer.test", &[&line]);
        assert!(done.status.success(), "{done:?}");
    };
    publish("add", &stranger);
    let force = ["renew", "--force", "--domain", NAME];
    let done = rig.cert(&force);
    assert_eq!(done.status.code(), Some(2), "{}", words(&done));
    assert!(
        words(&done).contains("has another value"),
        "{}",
        words(&done)
    );
    assert_eq!(rig.orders(), 0, "the CA was not asked");
    publish("add", &record);
    assert!(name.starts_with("_portico-verify.www.customer.test"));
    let done = rig.cert(&force);
    assert!(done.status.success(), "{}", words(&done));
    assert_eq!(rig.page(NAME).await.status.as_u16(), 200);
    assert_eq!(rig.orders(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cname_to_the_tenants_own_name_is_a_proof() {
    let dns = port::local(port::free());
    let rig = Rig::asking(
        dns,
        "timer",
        "proof = \"cname\"\ncname_base = \"edge.customer.test\"",
    );
    let record = own_record(&rig, "acme");
    let (_, target) = record.split_once(" 3600 IN CNAME ").unwrap();
    assert!(target.ends_with(".edge.customer.test."), "{record}");
    let text = format!(
        "{}*.edge A 127.0.0.1\nwww CNAME {target}\nshop CNAME nobody.edge\n",
        zone_text("customer.test")
    );
    let _knot = Knot::at(
        dns,
        &[
            ("example.test", zone_text("example.test")),
            ("customer.test", text),
        ],
    );
    let _portico = rig.portico();
    rig.rows(&[("acme", &[NAME, "shop.customer.test", "bare.customer.test"])]);
    wait::until("wishes", || {
        let all = ["shop.customer.test", "bare.customer.test", NAME];
        all.iter()
            .all(|name| rig.wanted(name).exists())
            .then_some(())
    });
    let text = rig.reconcile();
    assert!(
        text.contains("it leads to `nobody.edge.customer.test`"),
        "{text}"
    );
    assert!(text.contains("it is no CNAME"), "{text}");
    assert_eq!(rig.orders(), 1);
    assert_eq!(rig.page(NAME).await.status.as_u16(), 200);
    let all = rig.domains(None);
    assert_eq!(
        (&all["served"], &all["unproven"]),
        (&1.into(), &2.into()),
        "{all}"
    );
}
