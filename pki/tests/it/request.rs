//! Requests from outside: what is taken from them, and what is refused.

use crate::support::{Said, World};

/// Makes a key and a request with openssl: `key` as for `genpkey`, `more` as for `req`.
fn request(world: &World, name: &str, key: &str, more: &str) {
    world
        .openssl(&format!("genpkey {key} -out {name}.key"))
        .must_succeed();
    world
        .openssl(&format!("req -new -key {name}.key -out {name}.csr {more}"))
        .must_succeed();
}

const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

fn issue(world: &World, name: &str) -> Said {
    world.pki(&format!(
        "issue --profile device --id urn:example:pump-1 --csr {name}.csr --out {name}"
    ))
}

#[test]
fn keys_of_every_certified_kind_get_certificates_and_stay_at_home() {
    let world = World::new();
    for (name, key) in [
        ("p256", P256),
        ("p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
        ("ed25519", "-algorithm ED25519"),
        ("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
    ] {
        request(&world, name, key, "-subj /");
        issue(&world, name).must_succeed();
        assert_eq!(world.names(name), ["cert.pem", "chain.pem", "trust.pem"]);
        world.verify(&format!("{name}/cert.pem")).must_succeed();
        let own = world.openssl(&format!("pkey -in {name}.key -pubout"));
        let certified = world.openssl(&format!("x509 -in {name}/cert.pem -noout -pubkey"));
        assert_eq!(own.must_succeed().out, certified.must_succeed().out);
    }
    let shown = world.json("show --id urn:example:pump-1");
    assert_eq!(shown["certificates"][0]["key"], "request");
}

#[test]
fn a_p384_key_signed_with_sha256_keeps_its_curve() {
    let world = World::new();
    let p384 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
    request(&world, "odd", p384, "-subj / -sha256");
    issue(&world, "odd").must_succeed();
    assert!(world.text("odd/cert.pem").contains("NIST CURVE: P-384"));
    world.verify("odd/cert.pem").must_succeed();
}

#[test]
fn der_is_read_as_well() {
    let world = World::new();
    request(&world, "der", P256, "-subj / -outform DER");
    issue(&world, "der").must_succeed();
}

#[test]
fn nothing_but_the_key_is_taken_from_a_request() {
    let world = World::new();
    request(
        &world,
        "wishes",
        P256,
        "-subj /O=Evil/CN=Pump1 -addext keyUsage=critical,keyAgreement \
         -addext extendedKeyUsage=serverAuth,codeSigning -addext nsComment=hello \
         -addext basicConstraints=critical,CA:FALSE",
    );
    issue(&world, "wishes").must_succeed();
    let text = world.text("wishes/cert.pem");
    assert!(
        text.contains("Subject: CN = urn:example:pump-1\n"),
        "{text}"
    );
    assert!(text.contains("Digital Signature\n"));
    for wish in [
        "Evil",
        "Key Agreement",
        "Server Authentication",
        "Code Signing",
        "hello",
    ] {
        assert!(!text.contains(wish), "{wish}");
    }
}

#[test]
fn a_request_for_an_authority_is_refused() {
    let world = World::new();
    request(
        &world,
        "ca",
        P256,
        "-subj / -addext basicConstraints=critical,CA:TRUE",
    );
    issue(&world, "ca").must_refuse(1, "certificate authority");
    request(
        &world,
        "signs",
        P256,
        "-subj / -addext keyUsage=keyCertSign",
    );
    issue(&world, "signs").must_refuse(1, "certificate authority");
    assert!(!world.path("ca").exists() && !world.path("signs").exists());
    assert_eq!(world.count("--profile device"), 0);
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let world = World::new();
    request(
        &world,
        "critical",
        P256,
        "-subj / -addext 1.3.6.1.4.1.99999.1=critical,ASN1:NULL",
    );
    issue(&world, "critical").must_refuse(1, "1.3.6.1.4.1.99999.1");
    request(
        &world,
        "other",
        P256,
        "-subj / -addext 1.3.6.1.4.1.99999.1=ASN1:NULL",
    );
    issue(&world, "other").must_succeed();
}

#[test]
fn names_in_a_request_must_be_those_that_are_granted() {
    let world = World::new();
    request(
        &world,
        "same",
        P256,
        "-subj / -addext subjectAltName=URI:urn:example:pump-1",
    );
    issue(&world, "same").must_succeed();
    for (name, wish) in [
        ("another", "URI:urn:example:pump-2"),
        ("more", "URI:urn:example:pump-1,DNS:api.clinic.example"),
        ("mail", "email:nurse@clinic.example"),
    ] {
        request(
            &world,
            name,
            P256,
            &format!("-subj / -addext subjectAltName={wish}"),
        );
        issue(&world, name).must_refuse(1, "which was not granted");
    }
    request(&world, "subject", P256, "-subj /CN=urn:example:pump-2");
    issue(&world, "subject").must_refuse(1, "urn:example:pump-2");
}

#[test]
fn a_request_whose_signature_is_not_by_its_key_is_refused() {
    let world = World::new();
    request(&world, "mine", P256, "-subj / -outform DER");
    let mut der = std::fs::read(world.path("mine.csr")).unwrap();
    *der.last_mut().unwrap() ^= 1;
    world.write("mine.csr", &der);
    issue(&world, "mine").must_refuse(1, "does not prove possession");
}

#[test]
fn weak_keys_and_weak_signatures_are_refused() {
    let world = World::new();
    for (name, key, more, says) in [
        (
            "rsa1024",
            "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
            "",
            "1024 bits",
        ),
        (
            "rsa2047",
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2047",
            "",
            "2047 bits",
        ),
        (
            "rsa3",
            "-algorithm RSA -pkeyopt rsa_keygen_pubexp:3",
            "",
            "weak",
        ),
        (
            "p521",
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            "",
            "1.3.132.0.35",
        ),
        (
            "secp256k1",
            "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
            "",
            "1.3.132.0.10",
        ),
        (
            "explicit",
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
            "",
            "not named",
        ),
        ("ed448", "-algorithm ED448", "", "1.3.101.113"),
        (
            "sha1",
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "-sha1",
            "does not prove",
        ),
    ] {
        request(&world, name, key, &format!("-subj / {more}"));
        let said = issue(&world, name);
        said.must_refuse(1, says);
        assert!(said.err.contains("hint: "), "{}", said.err);
    }
    assert_eq!(world.count("--profile device"), 0);
}

#[test]
fn files_that_are_no_request_are_refused_and_say_what_they_are() {
    let world = World::new();
    world.device("urn:example:other", "other");
    for (name, content, says) in [
        ("empty", String::new(), "no certificate signing request"),
        (
            "garbage",
            "hello\n".repeat(100),
            "no certificate signing request",
        ),
        ("key", world.read("other/key.pem"), "PRIVATE KEY"),
        ("cert", world.read("other/cert.pem"), "CERTIFICATE"),
        (
            "half",
            "-----BEGIN CERTIFICATE REQUEST-----\nMIIB".to_owned(),
            "malformed",
        ),
    ] {
        world.write(&format!("{name}.csr"), content);
        issue(&world, name).must_refuse(1, says);
    }
    world.write("binary.csr", [0x30, 0x82, 0xff, 0xff, 0, 1, 2]);
    issue(&world, "binary").must_refuse(1, "malformed");
    issue(&world, "missing").must_refuse(1, "cannot open");
}

#[test]
fn a_hundred_megabytes_are_refused_before_they_are_read() {
    let world = World::new();
    let file = std::fs::File::create(world.path("huge.csr")).unwrap();
    file.set_len(100 * 1024 * 1024).unwrap();
    let started = std::time::Instant::now();
    issue(&world, "huge").must_refuse(1, "larger than 65536 octets");
    // What has no length in advance is cut off as well.
    let endless =
        world.pki("issue --profile device --id urn:example:pump-1 --csr /dev/zero --out endless");
    endless.must_refuse(1, "larger than 65536 octets");
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn a_key_that_is_compromised_or_anothers_is_not_certified_again() {
    let world = World::new();
    request(&world, "pump", P256, "-subj /");
    issue(&world, "pump").must_succeed();
    let again = "issue --profile device --id urn:example:pump-1 --csr pump.csr --out again";
    world.pki(again).must_succeed();
    let stolen = "issue --profile device --id urn:example:pump-2 --csr pump.csr --out stolen";
    world.pki(stolen).must_refuse(1, "another name");
    world
        .pki("revoke --id urn:example:pump-1 --reason keyCompromise")
        .must_succeed();
    let third = "issue --profile device --id urn:example:pump-1 --csr pump.csr --out third";
    world.pki(third).must_refuse(1, "compromised");
    assert!(!world.path("third").exists());
}
