//! TLS 1.3 configurations: mutual, without tickets, with our own check of who is there.

use crate::peer::{Binding, Credentials, Expect, PeerCheck};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use terms::{Problem, UnixMs};
use world::World;

/// Names the use of [`Binding`] to TLS (RFC 8446, 7.5).
const BINDING_LABEL: &[u8] = b"EXPORTER-webos-renew-v1";

struct WorldTime(World);

impl fmt::Debug for WorldTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorldTime")
    }
}

impl TimeProvider for WorldTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.clock.unix().0)))
    }
}

struct Checker {
    check: Arc<dyn PeerCheck>,
    expect: Option<Expect>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checker({:?})", self.expect)
    }
}

fn refused(problem: Problem) -> Error {
    Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(problem))))
}

fn wrong_peer(expect: &Expect, found: impl fmt::Display) -> Error {
    refused(Problem::new(terms::Code::Denied, format!("expected {expect}, found {found}")))
}

fn milliseconds(now: UnixTime) -> UnixMs {
    UnixMs::from_secs(now.as_secs())
}

impl Checker {
    fn tls13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn only_tls13() -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken here".into()))
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Checker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = milliseconds(now);
        let expect = self.expect.as_ref().ok_or(Error::General("a client expects somebody".into()))?;
        if let Expect::Principal(principal) = expect {
            let peer = self.check.check(end_entity, intermediates, now).map_err(refused)?;
            return if peer.principal == *principal {
                Ok(ServerCertVerified::assertion())
            } else {
                Err(wrong_peer(expect, peer.principal))
            };
        }
        let described = self.check.describe(end_entity, intermediates, now).map_err(refused)?;
        let matches = match expect {
            Expect::Key(key) => described.key == *key,
            Expect::Root(root) => described.root == Some(*root),
            Expect::Principal(_) => false,
        };
        if matches {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(wrong_peer(expect, format!("the holder of key {}", described.key)))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Checker {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check.check(end_entity, intermediates, milliseconds(now)).map_err(refused)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// Chain and key of a listener, as they are now: a renewal replaces them while it runs.
pub(crate) struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    pub fn new(credentials: &Credentials) -> Result<Self, Error> {
        Ok(Self(RwLock::new(Arc::new(certified(credentials)?))))
    }

    pub fn replace(&self, credentials: &Credentials) -> Result<(), Error> {
        let new = Arc::new(certified(credentials)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

fn certified(credentials: &Credentials) -> Result<CertifiedKey, Error> {
    let provider = aws_lc_rs::default_provider();
    CertifiedKey::from_der(credentials.chain.clone(), credentials.key.clone_key(), &provider)
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What both ends of one connection know and nobody else: a signature over it counts on this connection only.
pub(crate) fn binding<T>(connection: &rustls::ConnectionCommon<T>) -> Result<Binding, Error> {
    connection.export_keying_material([0; 32], BINDING_LABEL, None).map(Binding)
}

/// The listener's configuration. Without tickets: a resumed session would outlive a revocation.
pub(crate) fn server(world: &World, shown: Arc<Shown>, check: Arc<dyn PeerCheck>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let checker = Checker { check, expect: None, provider: provider.clone() };
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(WorldTime(world.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(checker))
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Has the library behind TLS gather its first randomness, which takes a while, once in a process.
pub(crate) fn gather_randomness() {
    let _ = aws_lc_rs::default_provider().secure_random.fill(&mut [0]);
}

/// A client's configuration for one expected peer.
pub(crate) fn client(
    world: &World,
    credentials: Option<&Credentials>,
    check: Arc<dyn PeerCheck>,
    expect: Expect,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let checker = Checker { check, expect: Some(expect), provider: provider.clone() };
    let builder = ClientConfig::builder_with_details(provider, Arc::new(WorldTime(world.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(checker));
    let mut config = match credentials {
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}
