//! Case 16: `kill -9` at four places that all three programs come by, told by what the CA was asked; then one more run.

use super::super::dns::Brand;
use super::Cell;
use super::net::Net;
use super::program::Program;
use crate::support::fault_proxy::{Fault, Kind};

/// The CA has made the order; the program has not yet read its answer.
pub(super) fn order_made(who: Program) -> Cell {
    killed(who, Kind::NewOrder, Fault::Drip, |net| {
        net.proxy.granted(Kind::NewOrder) > 0
    })
}

/// The record is there and the challenge offered, but the CA has not heard of it.
pub(super) fn record_there(who: Program) -> Cell {
    killed(who, Kind::Challenge, Fault::Hang, |net| {
        net.proxy.posts(Kind::Challenge) > 0
    })
}

/// The CA has taken the request to finalize; the program has not yet read its answer.
pub(super) fn finalize_taken(who: Program) -> Cell {
    killed(who, Kind::Finalize, Fault::Drip, |net| {
        net.proxy.granted(Kind::Finalize) > 0
    })
}

/// The CA sends the certificate; the program has not yet read all of it.
pub(super) fn certificate_sent(who: Program) -> Cell {
    killed(who, Kind::Certificate, Fault::Drip, |net| {
        net.proxy.granted(Kind::Certificate) > 0
    })
}

fn killed(who: Program, kind: Kind, fault: Fault, here: impl Fn(&Net) -> bool) -> Cell {
    let net = Net::start(Brand::Knot, |pebble| pebble);
    net.proxy.on(kind, fault);
    let (killed, end) = who.start(&net).kill_when(|| here(&net));
    if !killed {
        return Cell {
            text: format!("NOT KILLED: {} before", end.word()),
            good: false,
        };
    }
    net.proxy.heal();
    let next = who.run(&net);
    let (orders, issued) = (net.proxy.granted(Kind::NewOrder), net.issued());
    let left = net.txt().len();
    Cell {
        text: format!(
            "{}; {orders} {}, {issued} {}, {left} TXT left",
            next.word(),
            if orders == 1 { "order" } else { "orders" },
            if issued == 1 {
                "certificate"
            } else {
                "certificates"
            },
        ),
        good: next.good() && orders <= 2 && issued == 1 && left == 0,
    }
}
