//! Handshakes in memory, with a server of our own.

use std::io::Cursor;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::client::ClientConnection;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use super::*;

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn trusting(authority: &CertifiedIssuer<'static, KeyPair>) -> ClientConfig {
    client_config(&Authorities(vec![authority.der().clone()])).unwrap()
}

/// A server with a certificate for this name.
fn server(
    issuer: Option<&CertifiedIssuer<'static, KeyPair>>,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.unwrap().der().clone()], key)
        .unwrap();
    config.ticketer = ring::Ticketer::new().unwrap();
    Arc::new(config)
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
fn what_is_wrong_with_a_certificate_is_said() {
    let (ours, other) = (authority("ours"), authority("another"));
    let client = Arc::new(trusting(&ours));
    let with = |issuer, name, change: fn(&mut CertificateParams)| server(issuer, name, change);
    let expired: fn(&mut CertificateParams) = |it| it.not_after = date_time_ymd(2020, 1, 1);
    let early: fn(&mut CertificateParams) = |it| it.not_before = date_time_ymd(4000, 1, 1);
    let is_ca: fn(&mut CertificateParams) =
        |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
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
    ] {
        let error = connect(&client, &server, "shop.example").unwrap_err();
        let text = describe(&error);
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let trusted = with(Some(&ours), "shop.example", sound);
    assert_eq!(connect(&client, &trusted, "shop.example"), Ok(HandshakeKind::Full));
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
