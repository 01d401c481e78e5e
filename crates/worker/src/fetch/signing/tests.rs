//! Signatures beside those of the draft, and files that contain no key.

use super::*;

/// The key of RFC 9421, B.1.4.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n\
    -----END PRIVATE KEY-----\n";
const KEY_ID: &str = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";

fn read(name: &str, text: &str) -> Result<BotKey, BotKeyError> {
    let path = std::env::temp_dir().join(format!("fetchline-bot-{name}-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let key = BotKey::read(&path);
    std::fs::remove_file(&path).unwrap();
    key
}

fn signing(name: &str, agent: Option<&str>) -> Signing {
    let agent = agent.map(|agent| SignatureAgent::parse(agent).unwrap());
    Signing::new(read(name, KEY).unwrap(), agent)
}

#[test]
fn the_signature_is_that_of_the_draft() {
    // draft-meunier-web-bot-auth-architecture, appendix "Test vectors". Its signature is valid for
    // an hour.
    let nonce =
        "gubxywVx7hzbYKatLgzuKDllDAIXAkz41PydU7aOY7vT+Mb3GJNxW0qD4zJ+IOQ1NVtg+BNbTCRUMt1Ojr5BgA==";
    let base = format!(
        "\"@authority\": example.com\n\"@signature-params\": (\"@authority\");created=1735689600;\
         keyid=\"{KEY_ID}\";alg=\"ed25519\";expires=1735693200;nonce=\"{nonce}\";\
         tag=\"web-bot-auth\""
    );
    let key = read("vector", KEY).unwrap();
    assert_eq!(
        STANDARD.encode(key.sign(base.as_bytes())),
        "uz2SAv+VIemw+Oo890bhYh6Xf5qZdLUgv6/PbiQfCFXcX/vt1A8Pf7OcgL2yUDUYXFtffNpkEr5W6dldqFrkDg=="
    );
    let url = Url::parse("https://Example.com:443/a?b").unwrap();
    let signed = signing("input", None).signature(&url, 1_735_692_900, nonce);
    assert_eq!(
        signed.input,
        base.split_once("params\": ").unwrap().1.replace("=1735689600", "=1735692900")
    );
}

#[test]
fn the_host_is_signed_as_it_is_sent() {
    for (url, expected) in [
        ("https://shop.example/", "shop.example"),
        ("http://shop.example:80/", "shop.example"),
        ("http://shop.example:443/", "shop.example:443"),
        ("https://user:secret@SHOP.example:8443/p", "shop.example:8443"),
        ("http://[2001:DB8::1]:8080/", "[2001:db8::1]:8080"),
        ("https://b\u{fc}cher.example/", "xn--bcher-kva.example"),
    ] {
        assert_eq!(authority(&Url::parse(url).unwrap()), expected);
    }
}

#[test]
fn a_signature_replaces_that_of_a_task_and_is_never_the_same() {
    let url = Url::parse("https://shop.example/").unwrap();
    let signing = signing("fields", Some("https://bot.example/"));
    let fields = || {
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, HeaderValue::from_static("old"));
        headers.append(SIGNATURE, HeaderValue::from_static("older"));
        signing.sign(&url, &mut headers);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers[SIGNATURE_AGENT], "sig1=\"https://bot.example\"");
        let input = headers[SIGNATURE_INPUT].to_str().unwrap().to_owned();
        assert!(input.starts_with(r#"sig1=("@authority" "signature-agent";key="sig1");created="#));
        (input, headers[SIGNATURE].clone())
    };
    let (first, second) = (fields(), fields());
    assert_ne!(first.0, second.0);
    assert_ne!(first.1, second.1);
}

#[test]
fn the_directory_has_the_public_keys() {
    let directory = key_directory(&[read("directory", KEY).unwrap()]);
    let jwk = json(KEY_ID, "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs");
    assert_eq!(directory, serde_json::json!({ "keys": [jwk] }));
}

fn json(id: &str, x: &str) -> serde_json::Value {
    serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x, "use": "sig" })
}

#[test]
fn a_file_without_an_ed25519_key_says_what_it_has() {
    let pem = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    let ecdsa = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let cases = [
        ("empty", String::new(), "no private key"),
        ("text", "hunter2".to_owned(), "no private key"),
        ("cut", KEY[..60].to_owned(), "no private key"),
        ("ecdsa", ecdsa, "not Ed25519"),
        ("rsa", pem("RSA PRIVATE KEY", "MAA="), "an RSA key"),
        ("ec", pem("EC PRIVATE KEY", "MAA="), "an EC key"),
        ("garbage", pem("PRIVATE KEY", "aHVudGVyMg=="), "damaged"),
        ("encrypted", pem("ENCRYPTED PRIVATE KEY", "MAA="), "without a password"),
        ("public", pem("PUBLIC KEY", "MAA="), "the private one signs"),
        ("openssh", pem("OPENSSH PRIVATE KEY", "MAA="), "OpenSSH"),
        ("certificate", pem("CERTIFICATE", "MAA="), "a certificate"),
    ];
    for (name, text, expected) in cases {
        let error = read(name, &text).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{name}: {error}");
    }
    let missing = BotKey::read(std::path::Path::new("/nonexistent")).unwrap_err();
    assert_eq!(missing.to_string(), "it cannot be read");
    // Text before the key, and line ends of Windows.
    let windows = format!("our key\r\n{}", KEY.replace('\n', "\r\n"));
    assert_eq!(read("windows", &windows).unwrap().id(), KEY_ID);
}

#[test]
fn an_agent_is_the_origin_of_a_site() {
    for (text, expected) in [
        ("https://bot.example", Ok("https://bot.example")),
        (" https://Bot.example:443/ ", Ok("https://bot.example")),
        ("https://bot.example:8443", Ok("https://bot.example:8443")),
        ("http://bot.example", Err(AgentError::NotHttps)),
        ("bot.example", Err(AgentError::NotHttps)),
        ("", Err(AgentError::NotHttps)),
        ("https://bot.example/keys", Err(AgentError::Path)),
        ("https://bot.example/?a", Err(AgentError::Path)),
        ("https://user@bot.example/", Err(AgentError::Path)),
    ] {
        let parsed = SignatureAgent::parse(text).map(|agent| agent.to_string());
        assert_eq!(parsed, expected.map(str::to_owned), "{text}");
    }
}
