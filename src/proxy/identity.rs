//! Tells the app the tenant, and proves it.
//!
//! Called when the client's own headers have been stripped. What a row sets comes first and the edge's names after it, each
//! by replacing, so that no row can speak for the edge. The proof is made last, of what the app will really get.

use std::cell::RefCell;
use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use super::context::View;
use super::error::RequestError;
use super::headers::{X_REAL_IP, X_REQUEST_ID};
use crate::clock::UnixTime;
use crate::header_name::Fold;
use crate::tenant::Tenant;
use crate::tenant::naming::Naming;
use crate::tenant::signature::{Signed, Signer};
use crate::tenant::token::{REUSE, TokenSigner};

const X_TENANT_SIGNATURE: HeaderName = HeaderName::from_static("x-tenant-signature");
const X_TENANT_TOKEN: HeaderName = HeaderName::from_static("x-tenant-token");

/// Most tokens that a worker remembers, about 4 MiB.
const MOST_TOKENS: usize = 4096;

/// Puts in what the tenant's row sets and what the app is told of the tenant.
///
/// # Errors
/// [`RequestError::Unnamed`]: the tenant does not have the name that the app goes by. An app that is told nobody may take
/// that for its public part, so it does not get the request.
pub fn tell(headers: &mut HeaderMap, tenant: &Tenant, naming: &Naming) -> Result<(), RequestError> {
    for (name, value) in &tenant.attributes.headers {
        // The row was read before the configuration gave this name to the edge.
        if !naming.covers(&Fold::new(name.as_str().as_bytes())) {
            headers.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in naming.further(tenant) {
        headers.insert(name.clone(), value);
    }
    let told = naming.told(tenant).ok_or(RequestError::Unnamed)?;
    headers.insert(naming.header().clone(), told);
    Ok(())
}

/// Proves it, if keys are configured. `request` is as the app gets it.
pub fn prove<B>(request: &mut Request<B>, tenant: Option<&Tenant>, view: &View) {
    let (Some(signer), Some(tenant)) = (&view.snapshot.signer, tenant) else {
        return;
    };
    let naming = &*view.naming;
    let value = |name: &HeaderName| {
        let value = request.headers().get(name);
        value.map_or(&b""[..], HeaderValue::as_bytes)
    };
    let now = UnixTime::now();
    let (name, proof) = match signer {
        Signer::Hmac(signer) => {
            let signed = Signed {
                tenant: value(naming.header()),
                host: value(&header::HOST),
                method: request.method().as_str(),
                target: request
                    .uri()
                    .path_and_query()
                    .map_or("/", |path| path.as_str()),
                client: value(&X_REAL_IP),
                request_id: value(&X_REQUEST_ID),
            };
            (X_TENANT_SIGNATURE, signer.sign(&signed, now))
        }
        Signer::Token(signer) => {
            // Both are made of printable ASCII here.
            let text = |name| std::str::from_utf8(value(name)).unwrap_or_default();
            let (told, host) = (text(naming.header()), text(&header::HOST));
            let token = view.tokens.get(signer, tenant, (told, host), now);
            (X_TENANT_TOKEN, token)
        }
    };
    request.headers_mut().insert(name, proof);
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
    at: UnixTime,
    token: HeaderValue,
}

impl Tokens {
    fn get(
        &self,
        signer: &TokenSigner,
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
        let keys = Keys(vec![("k1".to_owned(), Secret::new("k".repeat(32)))]);
        let signer = TokenSigner::hs256(&keys, &signature);
        let tokens = Tokens::default();
        let mut tenant = Tenant::new(Name::new("acme").unwrap(), State::Active);
        let get = |tenant: &Tenant, host: &str, now| {
            tokens.get(&signer, tenant, ("acme", host), UnixTime(now))
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
