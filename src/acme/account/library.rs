//! The ACME library with a key of ours.
//!
//! The library signs with P-256 keys only and wants to hold the key. So it gets one that is made for this run and that no
//! CA ever sees: what it signed is signed anew with the account's key on its way out, whatever kind that is. What depends
//! on the account's key beside the signature, the answer to a challenge, is made from [`Account::thumbprint`].

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use instant_acme::{
    Account as LibraryAccount, BodyWrapper, BytesResponse, Error, HttpClient, NewOrder, Order,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::Deserialize;

use super::Saved;
use crate::acme::client::{Client, Failure};
use crate::acme::error::AcmeError;
use crate::acme::jws::{Jws, Signer};
use crate::acme::key::Key;
use crate::acme::order::patient;

/// An account that the CA knows, for orders.
pub(in crate::acme) struct Account {
    library: LibraryAccount,
    thumbprint: String,
}

impl Account {
    /// Reads the CA's directory, nothing else.
    pub(super) async fn of(saved: &Saved, client: &Client) -> Result<Self, AcmeError> {
        let url = saved.url()?;
        let key = Arc::new(saved.key()?);
        let stand_in = Key::generate()?.to_pkcs8()?;
        let library = patient(client, async || {
            let signing = Signing {
                client: client.clone(),
                key: Arc::clone(&key),
            };
            let builder = LibraryAccount::builder_with_http(Box::new(signing));
            let stand_in = PrivatePkcs8KeyDer::from(stand_in.as_slice());
            builder
                .from_parts(url.clone(), stand_in, saved.directory.clone())
                .await
        });
        Ok(Self {
            library: library.await?,
            thumbprint: key.thumbprint()?,
        })
    }

    /// Its URL.
    pub(in crate::acme) fn id(&self) -> &str {
        self.library.id()
    }

    /// Of its key (RFC 8555 §8.1).
    pub(in crate::acme) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// A new order.
    pub(in crate::acme) async fn new_order(&self, order: &NewOrder<'_>) -> Result<Order, Error> {
        self.library.new_order(order).await
    }

    /// The order of this URL.
    pub(in crate::acme) async fn order(&self, url: String) -> Result<Order, Error> {
        self.library.order(url).await
    }

    pub(super) async fn update_contacts(&self, contacts: &[&str]) -> Result<(), Error> {
        self.library.update_contacts(contacts).await
    }
}

/// Signs anew what the library signed.
struct Signing {
    client: Client,
    key: Arc<Key>,
}

impl HttpClient for Signing {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, key) = (self.client.clone(), Arc::clone(&self.key));
        Box::pin(async move {
            let request = match *request.method() {
                Method::POST => sign(request, &key).await.map_err(Error::Other)?,
                _ => request,
            };
            client.request(request).await
        })
    }
}

async fn sign(
    request: Request<BodyWrapper<Bytes>>,
    key: &Key,
) -> Result<Request<BodyWrapper<Bytes>>, Failure> {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};

    #[derive(Deserialize)]
    struct Signed {
        protected: String,
        payload: String,
    }
    #[derive(Deserialize)]
    struct Header {
        kid: String,
        nonce: String,
        url: String,
    }
    let (parts, body) = request.into_parts();
    let signed: Signed = serde_json::from_slice(&body.collect().await?.to_bytes())?;
    let header = BASE64_URL_SAFE_NO_PAD.decode(&signed.protected)?;
    let header: Header = serde_json::from_slice(&header)?;
    let signer = Signer::Account(&header.kid, key);
    let jws = Jws::of_encoded(signer, Some(&header.nonce), &header.url, signed.payload)?;
    let body = BodyWrapper::from(serde_json::to_vec(&jws)?);
    Ok(Request::from_parts(parts, body))
}
