//! The client side of TLS: the same one key exchange, one cipher suite and full handshake for every proxy.

use crate::{Error, args::Target};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) const H1: &[u8] = b"http/1.1";
pub(crate) const H2: &[u8] = b"h2";

/// Opens connections to one proxy with one protocol.
#[derive(Clone)]
pub(crate) struct Dialer {
    address: SocketAddr,
    alpn: &'static [u8],
    connector: TlsConnector,
}

impl Dialer {
    pub(crate) fn new(target: &Target, alpn: &'static [u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&target.ca)? {
            roots.add(certificate?)?;
        }
        let mut groups = vec![aws_lc_rs::kx_group::X25519];
        if target.post_quantum {
            groups.insert(0, aws_lc_rs::kx_group::X25519MLKEM768);
        }
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: groups,
            ..aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self {
            address: target.target,
            alpn,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Connects and shakes hands; anything but a full handshake with the protocol asked for is an error.
    pub(crate) async fn dial(
        &self,
        name: ServerName<'static>,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let stream = self.connector.connect(name, tcp).await?;
        let (_, session) = stream.get_ref();
        if session.handshake_kind() != Some(HandshakeKind::Full) {
            return Err(format!("not a full handshake: {:?}", session.handshake_kind()).into());
        }
        if session.alpn_protocol() != Some(self.alpn) {
            return Err("the proxy did not agree to the protocol".into());
        }
        Ok(stream)
    }
}

/// What was negotiated, for the report: proxies that differ here do not do the same work.
pub(crate) fn describe(stream: &TlsStream<TcpStream>) -> String {
    let (_, session) = stream.get_ref();
    let parts = [
        session
            .protocol_version()
            .map(|version| format!("{version:?}")),
        session
            .negotiated_cipher_suite()
            .map(|suite| format!("{:?}", suite.suite())),
        session
            .negotiated_key_exchange_group()
            .map(|group| format!("{:?}", group.name())),
        session.peer_certificates().map(|chain| {
            let length: usize = chain.iter().map(|certificate| certificate.len()).sum();
            format!("chain of {} with {length} bytes", chain.len())
        }),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
