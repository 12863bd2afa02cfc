//! Files as `openssl` writes them, with a chain whose root has a key of its own.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::*;

const PASSWORD: &str = "open-sesame";

/// A file of which no tool here can make another: as Windows writes it, with a null password, a certificate under RC2 and a key
/// under Triple DES. Made with `PKCS12_create(NULL, …)` of OpenSSL; its key is used nowhere else.
const NULL_PASSWORD: &[u8] = include_bytes!("null_password.pfx");
const ITS_THUMBPRINT: &str = "DtBKk-odJ8HFzzwIK_th3YQAvUIHVeR-egD510RHSj4";

/// A folder with `root.pem`, `leaf.pem`, which the root has signed, `leaf.key` and `other.key`; removed on drop.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().expect("the temporary folder is writable"));
        let new = "req -newkey rsa:2048 -nodes -subj";
        files.openssl(&format!("{new} /CN=root -x509 -days 2 -keyout root.key -out root.pem"));
        files.openssl(&format!("{new} /CN=leaf -keyout leaf.key -out leaf.csr"));
        files.openssl("x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -out leaf.pem");
        files.openssl("genrsa -out other.key 2048");
        files
    }

    fn openssl(&self, arguments: &str) {
        let run = Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output();
        let run = run.expect("openssl is installed");
        assert!(run.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).expect("it was written")
    }

    fn joined(&self, names: &[&str]) -> Vec<u8> {
        names.iter().flat_map(|name| self.read(name)).collect()
    }

    fn pkcs12(&self, options: &str) -> Vec<u8> {
        self.openssl(&format!(
            "pkcs12 -export -inkey leaf.key -in leaf.pem -certfile root.pem -out made.pfx {options}"
        ));
        self.read("made.pfx")
    }

    /// The thumbprint of the leaf.
    fn thumbprint(&self) -> String {
        let leaf = CertificateDer::from_pem_slice(&self.read("leaf.pem")).expect("a certificate");
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &leaf))
    }
}

/// The file without `localKeyId`: the attribute gets a type that nothing knows. It must not be encrypted or have a MAC.
fn without_local_key_id(mut pfx: Vec<u8>) -> Vec<u8> {
    const LOCAL_KEY_ID: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
    let places: Vec<_> = pfx.windows(11).enumerate().filter(|(_, bytes)| *bytes == LOCAL_KEY_ID).collect();
    let places: Vec<_> = places.into_iter().map(|(place, _)| place).collect();
    assert_eq!(places.len(), 2, "one for the key, one for its certificate");
    for place in places {
        pfx[place + 10] = 0x7f;
    }
    pfx
}

fn utf_16(text: &[u8], with_mark: bool, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mark = with_mark.then_some(0xfeff);
    mark.into_iter().chain(text.iter().map(|byte| u16::from(*byte))).flat_map(encode).collect()
}

#[test]
fn the_certificate_is_the_one_with_the_keys_public_key() {
    let files = Files::new();
    files.openssl("rsa -in leaf.key -traditional -out older.key");
    let passout = format!("-passout pass:{PASSWORD}");
    let plain = "-keypbe NONE -certpbe NONE -nomac -passout pass:";
    let older = format!("-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES {passout}");
    let marked = [b"\xef\xbb\xbf".to_vec(), files.joined(&["leaf.key", "root.pem", "leaf.pem"])].concat();
    for (form, file, password) in [
        ("PEM, leaf first", files.joined(&["leaf.pem", "root.pem", "leaf.key"]), None),
        ("PEM, root first", files.joined(&["root.pem", "leaf.pem", "leaf.key"]), None),
        ("PEM, key first", files.joined(&["leaf.key", "root.pem", "leaf.pem"]), None),
        ("PEM, an older key", files.joined(&["older.key", "root.pem", "leaf.pem"]), None),
        ("PEM, two keys", files.joined(&["other.key", "leaf.key", "root.pem", "leaf.pem"]), None),
        ("PEM with a byte order mark", marked, None),
        ("PFX with localKeyId", files.pkcs12(&passout), Some(PASSWORD)),
        ("PFX with localKeyId, Triple DES", files.pkcs12(&older), Some(PASSWORD)),
        ("PFX with localKeyId, not encrypted", files.pkcs12(plain), None),
        ("PFX without localKeyId", without_local_key_id(files.pkcs12(plain)), None),
        ("PFX with an empty password", files.pkcs12("-passout pass:"), None),
        ("PFX with an empty password, Triple DES", files.pkcs12(&older.replace(PASSWORD, "")), None),
    ] {
        let certificate = from_bytes(&file, password).unwrap_or_else(|problem| panic!("{form} {problem}"));
        assert_eq!(certificate.thumbprint, files.thumbprint(), "{form}");
    }
    let certificate = from_bytes(NULL_PASSWORD, None).expect("PFX with a null password");
    assert_eq!(certificate.thumbprint, ITS_THUMBPRINT);
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_the_true_reason() {
    let files = Files::new();
    files.openssl("pkcs8 -topk8 -in leaf.key -out sealed.key -passout pass:x");
    files.openssl("rsa -in leaf.key -traditional -aes128 -passout pass:x -out older.key");
    files.openssl("ecparam -name prime256v1 -genkey -noout -out ec.key");
    files.openssl("x509 -in leaf.pem -outform DER -out leaf.cer");
    let pfx = files.pkcs12(&format!("-passout pass:{PASSWORD}"));
    let pem = files.joined(&["leaf.pem", "leaf.key"]);
    let lines = STANDARD.encode(&pfx).into_bytes().chunks(64).collect::<Vec<_>>().join(&b'\n');
    files.openssl("pkcs12 -export -nokeys -in leaf.pem -passout pass: -out certificates.pfx");
    for (form, file, password, reason) in [
        ("a pair that does not fit", files.joined(&["leaf.pem", "other.key"]), None, NO_PAIR),
        ("the root alone", files.joined(&["root.pem", "leaf.key"]), None, NO_PAIR),
        ("an encrypted PEM", files.joined(&["leaf.pem", "sealed.key"]), None, SEALED_PEM),
        ("an encrypted PEM, older", files.joined(&["older.key", "leaf.pem"]), None, SEALED_PEM),
        ("a PFX in base64", lines, None, IN_BASE64),
        ("a PFX in base64, one line", STANDARD.encode(&pfx).into_bytes(), None, IN_BASE64),
        ("UTF-16", utf_16(&pem, true, u16::to_le_bytes), None, IN_UTF_16),
        ("UTF-16, big endian", utf_16(&pem, true, u16::to_be_bytes), None, IN_UTF_16),
        ("UTF-16 without a mark", utf_16(&pem, false, u16::to_le_bytes), None, IN_UTF_16),
        ("UTF-16 of base64", utf_16(STANDARD.encode(&pfx).as_bytes(), true, u16::to_le_bytes), None, IN_UTF_16),
        ("a PFX with another password", pfx.clone(), Some("wrong"), SEALED),
        ("a PFX without its password", pfx, None, SEALED),
        ("a PFX without a key", files.read("certificates.pfx"), None, NO_KEY),
        ("a PEM without a key", files.read("leaf.pem"), None, NO_KEY),
        ("a PEM without a certificate", files.read("leaf.key"), None, NO_CERTIFICATE),
        ("a key of another kind", files.joined(&["leaf.pem", "ec.key"]), None, NOT_RSA),
        ("a certificate in DER", files.read("leaf.cer"), None, NEITHER),
        ("nothing", Vec::new(), None, NEITHER),
    ] {
        assert_eq!(from_bytes(&file, password).map(drop), Err(reason), "{form}");
    }
    assert_eq!(from_bytes(NULL_PASSWORD, Some(PASSWORD)).map(drop), Err(SEALED), "a password where there is none");
}
