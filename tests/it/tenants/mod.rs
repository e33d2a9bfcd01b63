//! Tenants from everywhere they may come from, and what becomes of them.

mod postgres;
