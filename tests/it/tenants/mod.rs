//! Where tenants come from, and what becomes of a host.

mod resolution;
