//! Tells the app the tenant, and proves it.
//!
//! Called when the client's own headers have been stripped. What a plan sets comes first, a row's own after it and the edge's
//! names last, each by replacing, so that a row wins over its plan and neither can speak for the edge. The proof is made of
//! what the app will really get.

use std::cell::RefCell;
use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use super::context::View;
use super::error::RequestError;
use super::headers::{X_REAL_IP, X_REQUEST_ID};
use crate::clock::UnixTime;
use crate::header_name::{Extra, Fold};
use crate::snapshot::Snapshot;
use crate::tenant::Tenant;
use crate::tenant::signature::{Signed, Signer};
use crate::tenant::signers::Proof;
use crate::tenant::token::{REUSE, TokenSigner};

const X_TENANT_SIGNATURE: HeaderName = HeaderName::from_static("x-tenant-signature");
const X_TENANT_TOKEN: HeaderName = HeaderName::from_static("x-tenant-token");

/// Most tokens that a worker remembers, about 4 MiB.
const MOST_TOKENS: usize = 4096;

/// Puts in what the tenant's plan and row set and what the app is told of the tenant. `told` is what the tenant header says
/// ([`Naming::told`](crate::tenant::naming::Naming::told)).
///
/// # Errors
/// [`RequestError::Unnamed`]: the tenant does not have the name that the app goes by. An app that is told nobody may take
/// that for its public part, so it does not get the request.
pub fn tell(
    headers: &mut HeaderMap,
    (tenant, told): (&Tenant, Option<HeaderValue>),
    planned: &[Extra],
    snapshot: &Snapshot,
) -> Result<(), RequestError> {
    let naming = &snapshot.naming;
    for (name, value) in planned {
        headers.insert(name.clone(), value.clone());
    }
    for (name, value) in &tenant.attributes.headers {
        match naming.extra(&Fold::new(name.as_str().as_bytes())) {
            Some(name) => {
                headers.insert(name.clone(), value.clone());
            }
            None => snapshot.policy.refuse_header(tenant, name),
        }
    }
    for (name, value) in naming.further(tenant) {
        headers.insert(name.clone(), value);
    }
    let told = told.ok_or(RequestError::Unnamed)?;
    headers.insert(naming.header().clone(), told);
    Ok(())
}

/// Proves it. `request` is as the app gets it, `proof` that of the pool it goes to.
pub fn prove<B>(request: &mut Request<B>, tenant: &Tenant, proof: Proof<'_>, view: &View) {
    let naming = &*view.naming;
    let sent = |name: &HeaderName| {
        let value = request.headers().get(name);
        value.map_or(&b""[..], HeaderValue::as_bytes)
    };
    let now = UnixTime::now();
    let (name, value) = match proof.signer {
        Signer::Hmac(signer) => {
            let signed = Signed {
                tenant: sent(naming.header()),
                host: sent(&header::HOST),
                method: request.method().as_str(),
                target: request
                    .uri()
                    .path_and_query()
                    .map_or("/", |path| path.as_str()),
                client: sent(&X_REAL_IP),
                request_id: sent(&X_REQUEST_ID),
            };
            (X_TENANT_SIGNATURE, signer.sign(&signed, now))
        }
        Signer::Token(signer) => {
            // Both are made of printable ASCII here.
            let text = |name| std::str::from_utf8(sent(name)).unwrap_or_default();
            let (told, host) = (text(naming.header()), text(&header::HOST));
            let signer = (signer, proof.number);
            let token = view.tokens.get(signer, tenant, (told, host), now);
            (X_TENANT_TOKEN, token)
        }
    };
    request.headers_mut().insert(name, value);
}

/// The tokens that a worker has made under one configuration, by host.
#[derive(Debug, Default)]
pub struct Tokens(RefCell<HashMap<Box<str>, Made, foldhash::fast::RandomState>>);

#[derive(Debug)]
struct Made {
    /// Whose it is: a host may have become another tenant's since.
    id: Box<str>,
    schema: Option<Box<str>>,
    told: Box<str>,
    /// Which signer made it: a tenant may have come to another pool since.
    number: usize,
    at: UnixTime,
    token: HeaderValue,
}

impl Tokens {
    fn get(
        &self,
        (signer, number): (&TokenSigner, usize),
        tenant: &Tenant,
        (told, host): (&str, &str),
        now: UnixTime,
    ) -> HeaderValue {
        let mut tokens = self.0.borrow_mut();
        let schema = tenant.schema.as_ref().map(|schema| schema.as_str());
        if let Some(made) = tokens.get(host)
            && (0..REUSE).contains(&now.0.saturating_sub(made.at.0))
            && *made.id == *tenant.id.as_str()
            && made.schema.as_deref() == schema
            && *made.told == *told
            && made.number == number
        {
            return made.token.clone();
        }
        if tokens.len() >= MOST_TOKENS {
            tokens.clear();
        }
        let token = signer.token(tenant, told, host, now);
        let made = Made {
            id: tenant.id.as_str().into(),
            schema: schema.map(Into::into),
            told: told.into(),
            number,
            at: now,
            token: token.clone(),
        };
        tokens.insert(host.into(), made);
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CredentialSource, Secret, Signature, SignatureForm};
    use crate::tenant::signature::Keys;
    use crate::tenant::{Name, State};

    #[test]
    fn a_token_is_made_anew_for_another_tenant_and_when_it_is_old() {
        let signature = Signature {
            keys: CredentialSource::File("k".into()),
            form: SignatureForm::JwtHs256,
            issuer: "portico".to_owned(),
            audience: "app".to_owned(),
        };
        let signer = |key: &str| {
            let keys = Keys(vec![("k1".to_owned(), Secret::new(key.repeat(32)))]);
            TokenSigner::hs256(&keys, &signature)
        };
        let (signer, other) = (signer("k"), signer("o"));
        let tokens = Tokens::default();
        let mut tenant = Tenant::new(Name::new("acme").unwrap(), State::Active);
        let get = |tenant: &Tenant, host: &str, now| {
            tokens.get((&signer, 0), tenant, ("acme", host), UnixTime(now))
        };
        let first = get(&tenant, "acme.example.com", 1000);
        assert_eq!(get(&tenant, "acme.example.com", 1029), first);
        assert_ne!(get(&tenant, "b.example.com", 1029), first);
        assert_ne!(get(&tenant, "acme.example.com", 1030), first);
        assert_ne!(
            get(&tenant, "acme.example.com", 999),
            first,
            "a clock set back"
        );
        let at = get(&tenant, "acme.example.com", 1030);
        let told = ("acme", "acme.example.com");
        assert_eq!(
            tokens.get((&other, 1), &tenant, told, UnixTime(1030)),
            other.token(&tenant, told.0, told.1, UnixTime(1030)),
            "it has come to a pool with another signer"
        );
        assert_eq!(get(&tenant, "acme.example.com", 1030), at);
        tenant.schema = Name::new("acme_2");
        assert_ne!(get(&tenant, "acme.example.com", 1030), at);
        tenant.id = Name::new("globex").unwrap();
        let other = get(&tenant, "acme.example.com", 1030);
        assert_ne!(other, at);
        for number in 0..2 * MOST_TOKENS {
            get(&tenant, &format!("h{number}.example.com"), 1030);
        }
        assert!(tokens.0.borrow().len() <= MOST_TOKENS);
    }
}
