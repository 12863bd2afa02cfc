//! The handler never prints a credential, valid or not, even at the most verbose log level.

use std::fs;

use stand_ins::host::{Host, Options};
use stand_ins::identity::{Credential, Fault};

use super::certificates::Made;
use super::tenant::{Tenant, federated_token};
use crate::one_contact::{UPSERTED, send};
use crate::sas;
use crate::trust::Folder;

const PASSWORD: &str = "canary-of-a-password";
const ISSUER: &str = "https://canary.example";
const SUBJECT: &str = "system:serviceaccount:sync:handler";

/// Applies one contact with this credential, has the next one's token refused, and asserts that no secret was logged.
async fn keeps(tenant: &Tenant, proof: &[(&str, &str)], secrets: &[&str]) {
    let mut settings = proof.to_vec();
    settings.extend([("RUST_LOG", "trace"), crate::AT_ONCE]);
    let options = Options { kept_lines: Some(1_000_000), ..tenant.options(&settings) };
    let host = Host::start(options).await.expect("the handler starts");
    assert_eq!(send(&host, "S-1").await.verdict(), UPSERTED);
    tenant.world.identity.revoke_all();
    tenant.world.identity.fault(Fault::Status(reqwest::StatusCode::UNAUTHORIZED));
    assert_eq!(send(&host, "S-2").await.status, 503);
    tenant.world.identity.clear_faults();
    assert_eq!(host.terminate_handler().await, Some(0));
    let lines = host.logs();
    assert!(lines.iter().any(|line| line.text.to_uppercase().contains("TRACE")), "or the log hides nothing");
    for secret in secrets.iter().chain(&["eyJhbGciOi", "PRIVATE KEY"]) {
        let leak = lines.iter().find(|line| !secret.is_empty() && line.text.contains(secret));
        assert_eq!(leak, None, "{secret}");
    }
}

#[tokio::test]
async fn neither_the_key_of_a_certificate_nor_its_password() {
    let made = Made::new().await;
    let tenant = Tenant::start(vec![made.credential().await]).await;
    let (sealed, plain) = (made.pkcs12(PASSWORD).await, made.pem());
    let key = fs::read_to_string(&plain).expect("openssl wrote it");
    let part = key.split("PRIVATE KEY-----").nth(1).and_then(|key| key.lines().nth(3)).expect("a line of the key");
    let proof = [("AZURE_CLIENT_CERTIFICATE_PATH", &*sealed), ("AZURE_CLIENT_CERTIFICATE_PASSWORD", PASSWORD)];
    keeps(&tenant, &proof, &[PASSWORD, part]).await;
    keeps(&tenant, &[("AZURE_CLIENT_CERTIFICATE_PATH", &plain)], &[part]).await;
}

#[tokio::test]
async fn no_federated_token() {
    let trust = Credential::Federated { issuer: ISSUER.to_owned(), subject: SUBJECT.to_owned() };
    let tenant = Tenant::start(vec![trust]).await;
    let (folder, token) = (Folder::new(), federated_token(ISSUER, SUBJECT));
    let file = folder.write("token", &token);
    keeps(&tenant, &[("AZURE_FEDERATED_TOKEN_FILE", &file)], &[&token, ISSUER, SUBJECT]).await;
}

#[tokio::test]
async fn no_shared_access_signature_of_the_lock_storage() {
    let made = Made::new().await;
    let tenant = Tenant::start(vec![made.credential().await]).await;
    let connection = tenant.world.settings["AzureWebJobsStorage"].clone();
    let part =
        |name: &str| connection.split(';').find_map(|part| part.strip_prefix(name)).expect("it is there").to_owned();
    let (account, key, blob) = (part("AccountName="), part("AccountKey="), part("BlobEndpoint="));
    let signature = sas::everything(&account, &key);
    let secret = signature.split("sig=").nth(1).expect("it is signed").to_owned();
    let locks = format!("BlobEndpoint={blob};SharedAccessSignature={signature}");
    let pem = made.pem();
    let proof = [("AZURE_CLIENT_CERTIFICATE_PATH", &*pem), ("LOCK_STORAGE", "Locks"), ("Locks", &*locks)];
    keeps(&tenant, &proof, &[&signature, &secret, &key]).await;
}
