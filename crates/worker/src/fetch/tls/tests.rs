//! Handshakes in memory, with a server of our own.

use std::io::Cursor;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::client::ClientConnection;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::ProducesTickets;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use super::*;

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn trusting(authority: &CertifiedIssuer<'static, KeyPair>) -> ClientConfig {
    client_config(&Authorities(vec![authority.der().clone()]), 256 << 20).unwrap()
}

/// A server with a certificate for this name.
fn server(
    issuer: Option<&CertifiedIssuer<'static, KeyPair>>,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> Arc<ServerConfig> {
    server_with_certificate(issuer, name, change).0
}

fn server_with_certificate(
    issuer: Option<&CertifiedIssuer<'static, KeyPair>>,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    let certificate = certificate.unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.ticketer = ring::Ticketer::new().unwrap();
    (Arc::new(config), certificate)
}

/// Tickets that are longer than they have to be.
#[derive(Debug)]
struct Padded {
    tickets: Arc<dyn ProducesTickets>,
    padding: usize,
}

impl ProducesTickets for Padded {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = self.tickets.encrypt(plain)?;
        ticket.resize(ticket.len() + self.padding, 0);
        Some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets.decrypt(&cipher[..cipher.len().checked_sub(self.padding)?])
    }
}

fn with_tickets(server: &ServerConfig, ticketer: Arc<dyn ProducesTickets>) -> Arc<ServerConfig> {
    let mut server = server.clone();
    server.ticketer = ticketer;
    Arc::new(server)
}

fn padded(server: &Arc<ServerConfig>, padding: usize) -> Arc<ServerConfig> {
    let tickets = server.ticketer.clone();
    with_tickets(server, Arc::new(Padded { tickets, padding }))
}

/// Connects, and returns how the handshake went.
fn connect(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    host: &str,
) -> Result<HandshakeKind, Error> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        let mut sent = Cursor::new(sent);
        while server.read_tls(&mut sent).unwrap() > 0 {
            _ = server.process_new_packets();
        }
        let mut answered = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answered).unwrap();
        }
        receive(&mut client, &answered)?;
    }
    Ok(client.handshake_kind().unwrap())
}

fn receive(client: &mut ClientConnection, bytes: &[u8]) -> Result<(), Error> {
    let mut bytes = Cursor::new(bytes);
    while client.read_tls(&mut bytes).unwrap() > 0 {
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn sessions_of_thousands_of_hosts_are_resumed() {
    const HOSTS: usize = 2_000;
    let authority = authority("ours");
    let (client, server) =
        (Arc::new(trusting(&authority)), server(Some(&authority), "*.shop.example", |_| {}));
    let round = || {
        let hosts = (0..HOSTS).map(|n| format!("host-{n}.shop.example"));
        let kinds = hosts.map(|host| connect(&client, &server, &host).unwrap());
        kinds.filter(|kind| *kind == HandshakeKind::Resumed).count()
    };
    assert_eq!(round(), 0);
    let resumed = round();
    assert!(resumed >= HOSTS * 9 / 10, "{resumed} of {HOSTS}");
    // Each host gives more than one ticket, so that several connections can resume its session.
    let host = "host-0.shop.example";
    let connections = [connect(&client, &server, host), connect(&client, &server, host)];
    assert_eq!(connections, [Ok(HandshakeKind::Resumed), Ok(HandshakeKind::Resumed)]);
}

#[test]
fn sessions_with_very_long_tickets_are_not_kept() {
    let authority = authority("ours");
    let plain = server(Some(&authority), "shop.example", |_| {});
    for (padding, expected) in [
        (0, HandshakeKind::Resumed),
        (1_000, HandshakeKind::Resumed),
        (7_000, HandshakeKind::Resumed),
        (8_000, HandshakeKind::Full),
        (30_000, HandshakeKind::Full),
    ] {
        let (client, server) = (Arc::new(trusting(&authority)), padded(&plain, padding));
        assert_eq!(connect(&client, &server, "shop.example"), Ok(HandshakeKind::Full));
        for _ in 0..5 {
            assert_eq!(connect(&client, &server, "shop.example"), Ok(expected), "{padding}");
        }
    }
}

#[test]
fn the_bytes_of_a_session_are_those_of_its_ticket_and_of_its_certificates() {
    let authority = authority("ours");
    let plain = server(Some(&authority), "*.shop.example", |_| {});
    let bytes_with = |padding| {
        let sessions = Arc::new(SessionStore::new(64 << 20));
        let authorities = Authorities(vec![authority.der().clone()]);
        let client = Arc::new(with_sessions(&authorities, sessions.clone()).unwrap());
        let server = padded(&plain, padding);
        for host in 0..10 {
            connect(&client, &server, &format!("{host}.shop.example")).unwrap();
        }
        sessions.bytes()
    };
    // Two tickets for each of ten hosts. A signature in DER has 70 to 72 bytes.
    let (short, long) = (bytes_with(0), bytes_with(5_000));
    assert!((20 * 4_990..20 * 5_050).contains(&(long - short)), "{short} {long}");
}

#[test]
fn sessions_beyond_the_memory_are_dropped() {
    let authority = authority("ours");
    let server = padded(&server(Some(&authority), "*.shop.example", |_| {}), 4_000);
    let sessions = Arc::new(SessionStore::new(400_000));
    let authorities = Authorities(vec![authority.der().clone()]);
    let client = Arc::new(with_sessions(&authorities, sessions.clone()).unwrap());
    for host in 0..100 {
        let host = format!("{host}.shop.example");
        assert_eq!(connect(&client, &server, &host), Ok(HandshakeKind::Full));
        // One site has a part of the memory.
        assert!(sessions.bytes() <= 100_000, "{}", sessions.bytes());
    }
    assert_eq!(connect(&client, &server, "99.shop.example"), Ok(HandshakeKind::Resumed));
    assert_eq!(connect(&client, &server, "0.shop.example"), Ok(HandshakeKind::Full));
}

#[test]
fn sessions_of_both_versions_of_the_protocol_are_resumed_again_and_again() {
    let authority = authority("ours");
    let both = server(Some(&authority), "shop.example", |_| {});
    for version in [&TLS12, &TLS13] {
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(both.cert_resolver.clone());
        let server = with_tickets(&server, both.ticketer.clone());
        let client = Arc::new(trusting(&authority));
        assert_eq!(connect(&client, &server, "shop.example"), Ok(HandshakeKind::Full));
        for _ in 0..5 {
            let kind = connect(&client, &server, "shop.example");
            assert_eq!(kind, Ok(HandshakeKind::Resumed), "{version:?}");
        }
        // A server that has lost its keys ends a session, and gives another one.
        let renewed = with_tickets(&server, ring::Ticketer::new().unwrap());
        let kinds: Vec<_> =
            (0..4).map(|_| connect(&client, &renewed, "shop.example").unwrap()).collect();
        assert_eq!(kinds.first(), Some(&HandshakeKind::Full), "{version:?}");
        assert_eq!(kinds.last(), Some(&HandshakeKind::Resumed), "{version:?}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let (ours, other) = (authority("ours"), authority("another"));
    let client = Arc::new(trusting(&ours));
    let with = |issuer, name, change: fn(&mut CertificateParams)| server(issuer, name, change);
    let expired: fn(&mut CertificateParams) = |it| it.not_after = date_time_ymd(2020, 1, 1);
    let early: fn(&mut CertificateParams) = |it| it.not_before = date_time_ymd(4000, 1, 1);
    let is_ca: fn(&mut CertificateParams) =
        |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let of_client: fn(&mut CertificateParams) =
        |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let sound: fn(&mut CertificateParams) = |_| {};
    for (server, expected) in [
        (with(Some(&ours), "shop.example", expired), "certificate has expired"),
        (with(Some(&ours), "shop.example", early), "not valid yet"),
        (
            with(Some(&ours), "other.example", sound),
            "for another host: for other.example, not for shop.example",
        ),
        (with(Some(&other), "shop.example", sound), "issuer of the site's certificate is unknown"),
        (with(None, "shop.example", sound), "the site has signed it itself"),
        (with(None, "shop.example", is_ca), "the site has signed its certificate itself"),
        (with(Some(&ours), "shop.example", of_client), "not for servers"),
    ] {
        let error = connect(&client, &server, "shop.example").unwrap_err();
        let text = describe(&error);
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let trusted = with(Some(&ours), "shop.example", sound);
    assert_eq!(connect(&client, &trusted, "shop.example"), Ok(HandshakeKind::Full));
}

#[test]
fn the_certificate_of_a_site_that_is_an_authority_may_be_added() {
    let is_ca = |it: &mut CertificateParams| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (site, own) = server_with_certificate(None, "shop.example", is_ca);
    let (expired_site, expired) = server_with_certificate(None, "shop.example", |it| {
        is_ca(it);
        it.not_after = date_time_ymd(2020, 1, 1);
    });
    let client = Arc::new(client_config(&Authorities(vec![own, expired]), 256 << 20).unwrap());
    assert_eq!(connect(&client, &site, "shop.example"), Ok(HandshakeKind::Full));
    let other = server(None, "shop.example", is_ca);
    for (server, host, expected) in [
        (&site, "www.shop.example", "for another host"),
        (&expired_site, "shop.example", "certificate has expired"),
        (&other, "shop.example", "the site has signed its certificate itself"),
    ] {
        let text = describe(&connect(&client, server, host).unwrap_err());
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn signatures_that_are_not_accepted_are_named_as_such() {
    let sha1 = CertificateError::UnsupportedSignatureAlgorithmContext {
        signature_algorithm_id: vec![6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 5, 5, 0],
        supported_algorithms: Vec::new(),
    };
    let other_key = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
        signature_algorithm_id: vec![6, 3, 43, 101, 113],
        public_key_algorithm_id: vec![6, 3, 43, 101, 113],
    };
    for (error, expected) in [
        (CertificateError::BadSignature, "RSA key of less than 2048 bits"),
        (sha1, "signed by a method that is not accepted, such as SHA-1"),
        (other_key, "signed by a method that is not accepted"),
        (CertificateError::InvalidPurpose, "not for servers"),
    ] {
        let text = describe(&Error::InvalidCertificate(error));
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_server_of_an_old_protocol_or_of_none_is_named_as_such() {
    // A ServerHello of TLS 1.1: its length, the version, random bytes, no session, a cipher suite.
    let mut old_hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    old_hello.extend([7; 32]);
    old_hello.extend([0, 0xc0, 0x13, 0]);
    for (answer, expected) in [
        (old_hello, "older than 1.2"),
        (vec![21, 3, 1, 0, 2, 2, 70], "older than 1.2"),
        (vec![21, 3, 3, 0, 2, 2, 40], "no way of encryption in common"),
        (vec![21, 3, 3, 0, 2, 2, 112], "does not know this host name"),
        (vec![21, 3, 3, 0, 2, 2, 116], "asks for a certificate of the client"),
        (vec![21, 3, 3, 0, 2, 2, 42], "asks for a certificate of the client"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "does not speak TLS"),
        (b"220 mail.example ESMTP\r\n".to_vec(), "does not speak TLS"),
    ] {
        let name = ServerName::try_from("shop.example").unwrap();
        let config = Arc::new(trusting(&authority("ours")));
        let mut client = ClientConnection::new(config, name).unwrap();
        client.write_tls(&mut Vec::new()).unwrap();
        let text = describe(&receive(&mut client, &answer).unwrap_err());
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_file_without_a_certificate_is_no_authority() {
    let file = |name: &str, text: &str| {
        let path = std::env::temp_dir().join(format!("fetchline-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let read = Authorities::read(&path);
        std::fs::remove_file(&path).unwrap();
        read.map(|found| format!("{found:?}")).map_err(|error| error.to_string())
    };
    let sound = authority("ours").pem();
    assert_eq!(file("one", &sound), Ok("1 certificates".to_owned()));
    assert_eq!(file("two", &format!("text\n{sound}{sound}")), Ok("2 certificates".to_owned()));
    for (name, text) in [("empty", ""), ("other", "not PEM"), ("key", "-----BEGIN X-----\n")] {
        assert!(file(name, text).is_err(), "{name}");
    }
    assert!(Authorities::read(Path::new("/nonexistent")).is_err());
}
