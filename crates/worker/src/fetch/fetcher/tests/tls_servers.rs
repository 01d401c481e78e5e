//! Sites that refuse a client in TLS.

use std::io::Read;
use std::net::{Shutdown, TcpListener};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::super::super::tls::Authorities;
use super::*;

/// A server that accepts no client without a certificate: its URL, and its authorities.
fn wants_certificates(
    version: &'static SupportedProtocolVersion,
    alpn: &[u8],
) -> (String, Authorities) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();

    let file = std::env::temp_dir().join(format!("fetchline-{port}-{}.pem", std::process::id()));
    std::fs::write(&file, certificate.pem()).unwrap();
    let authorities = Authorities::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();

    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let config = Arc::new(config);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            // Ends with its alert.
            while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
            _ = stream.shutdown(Shutdown::Write);
            _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (format!("https://127.0.0.1:{port}/"), authorities)
}

#[tokio::test]
async fn a_site_that_wants_a_certificate_of_the_client_is_named_as_such() {
    for (version, alpn) in
        [(&TLS12, &b"http/1.1"[..]), (&TLS13, &b"http/1.1"[..]), (&TLS13, &b"h2"[..])]
    {
        let (url, authorities) = wants_certificates(version, alpn);
        let fetcher = fetcher_with(&Config { authorities, ..config() });
        for method in [Method::GET, Method::POST] {
            let answer = fetch_in(&fetcher, &request(method, &url), "run").await;
            let error = answer.error.unwrap_or_default();
            assert_eq!(answer.outcome, Outcome::Tls, "{version:?}: {error}");
            assert!(error.contains("asks for a certificate of the client"), "{error}");
        }
    }
}
