//! What a tenant may use: which pool serves it, how many requests it may send, and from where.
//!
//! [`terms`] says what holds for a tenant; [`accounts`] and [`addresses`] keep what it has used of that. Rates are counted
//! over all workers, exactly, in one atomic for each tenant: a share of the rate for each worker would refuse a tenant
//! whose connections meet on one worker. A request of a tenant without limits touches nothing here.
//!
//! Assumes a tenant that the directory knows: a client's `Host` alone never opens an account.

pub mod accounts;
pub mod addresses;
pub mod bucket;
pub mod canary;
pub mod terms;
