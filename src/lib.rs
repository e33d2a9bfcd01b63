//! Portico: an edge proxy for multi-tenant SaaS.
