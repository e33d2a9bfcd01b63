//! Places where a test may end the process, to prove that the next run goes on from there.
//!
//! `PORTICO_FAILPOINT=<name>` makes [`hit`] abort at the place of that name: no destructor, no flush, as after
//! `kill -9`. In a release build the variable is not read and a call costs nothing. Every write and every POST of an
//! order has a place before or after it; [`ALL`] lists them in the order in which a run comes by, [`ACCOUNT`] those of the
//! account's own verbs.

/// After the intent is on the disk, before the account is opened.
pub const INTENT_NOTED: &str = "intent-noted";
/// The account's key is on the disk, the CA has not heard of it.
pub const ACCOUNT_KEY_WRITTEN: &str = "account-key-written";
/// The CA has registered the account, its address is not on the disk.
pub const ACCOUNT_REGISTERED: &str = "account-registered";
/// Key and request are on the disk, there is no order.
pub const KEY_WRITTEN: &str = "key-written";
/// The CA has made the order, its address is not on the disk.
pub const ORDER_MADE: &str = "order-made";
/// The order's address is on the disk.
pub const ORDER_NOTED: &str = "order-noted";
/// The ledger has a TXT record, the provider has not.
pub const RECORD_OWED: &str = "record-owed";
/// The provider has published a TXT record.
pub const RECORD_PUBLISHED: &str = "record-published";
/// All records are visible, no challenge is offered.
pub const RECORDS_VISIBLE: &str = "records-visible";
/// The challenges are offered, the CA has not said what it found.
pub const CHALLENGES_OFFERED: &str = "challenges-offered";
/// The CA is satisfied, the records are still there.
pub const VALIDATED: &str = "validated";
/// A record is gone at the provider, the ledger still has it.
pub const RECORD_REMOVED: &str = "record-removed";
/// Just before the request is sent.
pub const BEFORE_FINALIZE: &str = "before-finalize";
/// The request is sent.
pub const FINALIZED: &str = "finalized";
/// The CA has issued, nothing is downloaded.
pub const ISSUED: &str = "issued";
/// The certificate is downloaded and verified, nothing is stored.
pub const DOWNLOADED: &str = "downloaded";
/// Some files of the generation are written, aside.
pub const GENERATION_HALF_WRITTEN: &str = "generation-half-written";
/// The generation is complete and not current.
pub const GENERATION_WRITTEN: &str = "generation-written";
/// The generation is current, the order in progress is not forgotten.
pub const SWITCHED: &str = "switched";
/// The order in progress is forgotten, the success is not noted.
pub const PENDING_CLEARED: &str = "pending-cleared";
/// The state's old copy is set aside, the new one is not written.
pub const STATE_HALF_WRITTEN: &str = "state-half-written";
/// The success is noted, the CA's advice for the next renewal is not fetched.
pub const SUCCESS_NOTED: &str = "success-noted";

/// The account's next key is on the disk, the CA has not heard of it.
pub const ROLLOVER_KEY_WRITTEN: &str = "rollover-key-written";
/// The CA has taken the account's next key, which the disk still calls the next one.
pub const ROLLOVER_ACCEPTED: &str = "rollover-accepted";
/// The account's new key is the only one on the disk.
pub const ROLLOVER_NOTED: &str = "rollover-noted";
/// The CA has ended the account, which is still on the disk.
pub const ACCOUNT_ENDED: &str = "account-ended";

/// Every place that `portico account` comes by, beside those of an order.
pub const ACCOUNT: &[&str] = &[
    ROLLOVER_KEY_WRITTEN,
    ROLLOVER_ACCEPTED,
    ROLLOVER_NOTED,
    ACCOUNT_ENDED,
];

/// Every place of an order.
pub const ALL: &[&str] = &[
    STATE_HALF_WRITTEN,
    INTENT_NOTED,
    ACCOUNT_KEY_WRITTEN,
    ACCOUNT_REGISTERED,
    KEY_WRITTEN,
    ORDER_MADE,
    ORDER_NOTED,
    RECORD_OWED,
    RECORD_PUBLISHED,
    RECORDS_VISIBLE,
    CHALLENGES_OFFERED,
    VALIDATED,
    RECORD_REMOVED,
    BEFORE_FINALIZE,
    FINALIZED,
    ISSUED,
    DOWNLOADED,
    GENERATION_HALF_WRITTEN,
    GENERATION_WRITTEN,
    SWITCHED,
    PENDING_CLEARED,
    SUCCESS_NOTED,
];

/// Ends the process here if the test wants it.
pub fn hit(name: &'static str) {
    if cfg!(debug_assertions) && wanted(name) {
        std::process::abort();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a variable for tests, in debug builds only"
)]
fn wanted(name: &'static str) -> bool {
    debug_assert!(
        ALL.contains(&name) || ACCOUNT.contains(&name),
        "`{name}` is in no list"
    );
    std::env::var_os("PORTICO_FAILPOINT").is_some_and(|wanted| wanted == name)
}
