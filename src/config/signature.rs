//! `[tenants.signature]` and `[pools.NAME.signature]`: how the app can be sure that the edge has named the tenant.
//!
//! A pool may have keys and an audience of its own: what its servers hold is then of no use before those of another pool.

use std::collections::BTreeMap;

use super::pool::Pools;
use super::problem::Flaw;
use super::reader::Reader;
use super::secret::CredentialSource;
use super::section::Section;

/// What proves to the app that the edge has spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The file of keys.
    pub keys: CredentialSource,
    /// What is made with them. Default [`SignatureForm::Hmac`].
    pub form: SignatureForm,
    /// `iss` of a token.
    pub issuer: String,
    /// `aud` of a token.
    pub audience: String,
}

/// How the identity is signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SignatureForm {
    /// `"hmac"`: `X-Tenant-Signature` over this one request.
    #[default]
    Hmac,
    /// `"jwt-hs256"`: `X-Tenant-Token`, a token for tenant and host, with a shared key.
    JwtHs256,
    /// `"jwt-eddsa"`: the same with a private key; the public one is at `/jwks.json` of the admin listener.
    JwtEdDsa,
}

/// What proves it to the servers of single pools, by the pool's name.
pub type PoolSignatures = BTreeMap<String, Signature>;

const FORMS: &[(&str, SignatureForm)] = &[
    ("hmac", SignatureForm::Hmac),
    ("jwt-hs256", SignatureForm::JwtHs256),
    ("jwt-eddsa", SignatureForm::JwtEdDsa),
];

const ISSUER: &str = "portico";
const AUDIENCE: &str = "app";

impl Signature {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut section = reader.section("tenants.signature");
        let base = section.base();
        let keys = section.maybe_text(
            "keys",
            "nothing is signed",
            "The keys, `name = key` a line, of which the first signs: a path or `credential:NAME`",
            |text| CredentialSource::parse(text, base),
        );
        let mut form = SignatureForm::default();
        section.choice(
            "form",
            &mut form,
            FORMS,
            "`hmac` signs each request, `jwt-hs256` and `jwt-eddsa` a token for tenant and host",
        );
        let mut issuer = ISSUER.to_owned();
        section.text("issuer", &mut issuer, "`iss` of a token", claim);
        let mut audience = AUDIENCE.to_owned();
        section.text("audience", &mut audience, "`aud` of a token", claim);
        let others = ["form", "issuer", "audience"];
        if !section.has("keys") && others.iter().any(|name| section.has(name)) {
            section.missing(
                "keys",
                "write `keys = \"credential:tenant-keys\"`, or a path",
            );
        }
        Some(Self {
            keys: keys?,
            form,
            issuer,
            audience,
        })
    }

    /// All `[pools.NAME.signature]`: what one leaves out is as in `[tenants.signature]`, which is `base`. Without any pool, the
    /// keys of one are made known.
    pub(super) fn read_pools(
        reader: &mut Reader<'_>,
        pools: &Pools,
        base: Option<&Self>,
    ) -> PoolSignatures {
        let base = (base, reader.has("tenants.signature.keys"));
        if pools.is_empty() {
            Self::read_pool(&mut reader.section("pools.NAME.signature"), base);
        }
        let own = pools.keys().filter_map(|name| {
            let mut section = reader.section(format!("pools.{name}.signature"));
            Some((name.clone(), Self::read_pool(&mut section, base)?))
        });
        own.collect()
    }

    /// `named`: keys for all are named, rightly or not.
    fn read_pool(
        section: &mut Section<'_, '_>,
        (base, named): (Option<&Self>, bool),
    ) -> Option<Self> {
        const ABSENT: &str = "as in `[tenants.signature]`";
        let folder = section.base();
        let keys = section.maybe_text(
            "keys",
            ABSENT,
            "Keys of this pool alone: its servers can sign nothing that those of another pool believe",
            |text| CredentialSource::parse(text, folder),
        );
        let form = section.maybe_choice(
            "form",
            ABSENT,
            FORMS,
            "`hmac`, `jwt-hs256` or `jwt-eddsa`, for this pool",
        );
        let issuer = section.maybe_text("issuer", ABSENT, "`iss` of a token for this pool", claim);
        let audience = section.maybe_text(
            "audience",
            ABSENT,
            "`aud` of a token for this pool, so that another one takes none of them",
            claim,
        );
        let others = ["form", "issuer", "audience"];
        if others.iter().any(|name| section.has(name)) && !named && !section.has("keys") {
            section.missing(
                "keys",
                "write `keys = \"credential:pool-keys\"`, or keys for all below `[tenants.signature]`",
            );
        }
        let given = keys.is_some() || form.is_some() || issuer.is_some() || audience.is_some();
        if !given {
            return None;
        }
        let or = |own: Option<String>, base: Option<&String>, default: &str| {
            own.or_else(|| base.cloned())
                .unwrap_or_else(|| default.to_owned())
        };
        Some(Self {
            keys: keys.or_else(|| base.map(|base| base.keys.clone()))?,
            form: form
                .or_else(|| base.map(|base| base.form))
                .unwrap_or_default(),
            issuer: or(issuer, base.map(|base| &base.issuer), ISSUER),
            audience: or(audience, base.map(|base| &base.audience), AUDIENCE),
        })
    }
}

/// A text that stands in a token as it is.
fn claim(text: &str) -> Result<String, Flaw> {
    if (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(Flaw::new(
            "not a claim of a token",
            "write 1 to 200 printable ASCII characters without spaces",
        ))
    }
}
