//! What tenants have used: series for the busiest, one for all others.

use std::sync::Arc;

use super::super::tenants::Tally;
use super::text::{Kind, Text};

pub(super) fn render(text: &mut Text<'_>, rows: &[(Arc<str>, Tally)], lost: u64) {
    let mut each = |name: &str, help: &str, value: fn(&Tally) -> u64| {
        if !rows.is_empty() {
            text.family(name, Kind::Counter, help);
        }
        for (tenant, tally) in rows {
            text.sample(name, &[("tenant", tenant)], value(tally));
        }
    };
    each(
        "portico_tenant_requests_total",
        "Requests of the busiest tenants; `other` is all others.",
        |tally| tally.requests,
    );
    each(
        "portico_tenant_errors_total",
        "Requests of a tenant answered with a status from 500.",
        |tally| tally.errors,
    );
    each(
        "portico_tenant_limited_total",
        "Requests of a tenant answered with 429.",
        |tally| tally.limited,
    );
    each(
        "portico_tenant_received_bytes_total",
        "Bytes of request bodies and tunnels of a tenant.",
        |tally| tally.bytes_in,
    );
    each(
        "portico_tenant_sent_bytes_total",
        "Bytes of response bodies and tunnels of a tenant.",
        |tally| tally.bytes_out,
    );
    text.plain(
        "portico_usage_lost_total",
        Kind::Counter,
        "Requests that are in no sum of a tenant, because it could be put nowhere.",
        lost,
    );
}
