//! lego and certbot of Debian, and our own program, through the same trouble: what `tests/ACME.md` says of them was
//! seen here. It judges us only: the others do what they do.
//!
//! Runs inside the network namespace that `tests/acme-peers/run` makes: lego asks name servers at port 53 only, so
//! there must be a port 53 of our own, and a resolver that knows our zones. Every run of a program has a limit, and a
//! cell that fails is a cell that says so: the rows after it are measured all the same.

mod killed;
mod net;
mod program;
mod trouble;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use program::Program;

/// What was seen of one program in one case.
struct Cell {
    text: String,
    /// Is it what the design of the engine promises? Asked of our own program only.
    good: bool,
}

/// A row of the table: its name, beginning with the number of the case, and what fills its cells.
type Row = (&'static str, fn(Program) -> Cell);

const ROWS: &[Row] = &[
    ("1 (80 % bad nonces, five first issues)", trouble::nonces),
    ("3 (knot)", trouble::foreign_at_knot),
    ("3 (bind)", trouble::foreign_at_bind),
    ("4 (knot, laggard 20 s)", trouble::late_a_little),
    ("4 (bind, laggard 90 s)", trouble::late_a_lot),
    ("7 (knot, one hop)", trouble::one_hop),
    ("7 (bind, three hops)", trouble::three_hops),
    ("7 (knot, loop)", trouble::in_a_circle),
    ("7 (bind, dangling)", trouble::dangling),
    ("13 (run twice)", trouble::limited),
    ("16 (order made)", killed::order_made),
    ("16 (record there)", killed::record_there),
    ("16 (finalize taken)", killed::finalize_taken),
    ("16 (certificate on its way)", killed::certificate_sent),
];

#[test]
#[ignore = "compares with lego and certbot: run by tests/acme-peers/run"]
fn rows_of_the_comparison() {
    net::expect_namespace();
    let only = std::env::var("PORTICO_PEERS_ROWS").unwrap_or_default();
    let only: Vec<&str> = only.split_whitespace().collect();
    let chosen = |name: &str| {
        only.is_empty()
            || only
                .iter()
                .any(|number| name.split(' ').next() == Some(number))
    };
    let mut wrong = Vec::new();
    say("| # | Portico | lego | certbot |\n|---|---|---|---|");
    for (name, cell) in ROWS.iter().filter(|(name, _)| chosen(name)) {
        let mut cells = Vec::new();
        for who in Program::ALL {
            eprintln!("=== {name}: {who:?} ===");
            let seen = catch_unwind(AssertUnwindSafe(|| cell(who))).unwrap_or_else(|_| Cell {
                text: "NOT MEASURED: the test itself failed".to_owned(),
                good: false,
            });
            eprintln!("=== {name}: {who:?}: {} ===", seen.text);
            if who == Program::Portico && !seen.good {
                wrong.push(format!("{name}: {}", seen.text));
            }
            cells.push(seen.text);
        }
        say(&format!("| {name} | {} |", cells.join(" | ")));
    }
    assert!(wrong.is_empty(), "ours: {wrong:?}");
}

/// Adds lines to the table at once: what comes later may fail.
fn say(lines: &str) {
    let file = std::env::var_os("PORTICO_PEERS_TABLE").expect("a file for the table");
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .expect("the wrapper's folder");
    writeln!(file, "{lines}").expect("room for a line");
}
