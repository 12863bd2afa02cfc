//! The real handler with every kind of credential, against the sandbox's Entra tenant and managed identity.
//!
//! None is printed, at any log level. A refused credential or an unreachable authority loses no message.

mod files;

use reqwest::StatusCode;
use stand_ins::host::{Host, LogLine, Options as HostOptions};
use stand_ins::identity::{Credential, Fault, Options};

use crate::AT_ONCE;
use crate::caller::{UPSERTED, printed, send};
use crate::command::{CommandOutput, command};
use crate::tenant::{CLIENT, SECRET, Tenant};
use crate::trust::Folder;
use crate::waiting::wait_until;

const USER_ASSIGNED: &str = "44444444-4444-4444-8444-444444444444";

const UNAUTHORIZED: (u16, &str, &str) = (503, "retry", "unauthorized");
const UNAVAILABLE: (u16, &str, &str) = (503, "retry", "unavailable");

const ISSUER: &str = "https://cluster.example";
const SUBJECT: &str = "system:serviceaccount:sync:handler";

/// Applies one contact with this credential, has the next one's token refused, and asserts that the log names the kind
/// of credential and contains none of the secrets.
async fn opens(tenant: &Tenant, settings: &[(&str, &str)], kind: &str, secrets: &[&str]) {
    let settings = [settings, &[("RUST_LOG", "trace"), AT_ONCE]].concat();
    let options = HostOptions { kept_lines: Some(1_000_000), ..tenant.options(&settings) };
    let host = Host::start(options).await.expect("the handler starts");
    // A handler that has stopped may leave its lease held, so each host gets its own keys.
    let key = uuid::Uuid::new_v4();
    let answer = send(&host, &format!("{key}-1")).await;
    assert_eq!(answer.verdict(), UPSERTED, "{settings:?}: {answer:?}");
    tenant.world.identity.revoke_all();
    tenant.world.identity.fault(Fault::Status(StatusCode::UNAUTHORIZED));
    assert_eq!(send(&host, &format!("{key}-2")).await.status, 503);
    tenant.world.identity.clear_faults();
    assert_eq!(host.terminate_handler().await, Some(143));
    assert!(printed(&host, &format!("credential={kind}")), "{settings:?}: {:?}", host.logs());
    let lines = host.logs();
    assert!(lines.iter().any(|line| line.text.to_uppercase().contains("TRACE")), "the log level must be trace");
    for secret in secrets.iter().chain(&["eyJhbGciOi", "PRIVATE KEY"]) {
        let leak = lines.iter().find(|line| line.text.contains(secret));
        assert_eq!(leak, None, "{secret}");
    }
}

#[tokio::test]
async fn every_credential_of_an_application_opens_dataverse_and_none_is_printed() {
    let certificate = files::Certificate::new().await;
    let trust = Credential::Federated { issuer: ISSUER.to_owned(), subject: SUBJECT.to_owned() };
    let tenant =
        Tenant::start(vec![Credential::Secret(SECRET.to_owned()), trust, certificate.credential().await]).await;
    opens(&tenant, &[("AZURE_CLIENT_SECRET", SECRET)], "client_secret", &[SECRET]).await;

    let (folder, token) = (Folder::new(), files::federated_token(ISSUER, SUBJECT));
    let file = folder.write("token", &token);
    opens(&tenant, &[("AZURE_FEDERATED_TOKEN_FILE", &file)], "workload_identity", &[&token, ISSUER, SUBJECT]).await;

    let part = certificate.part_of_the_key();
    for (file, password) in certificate.every_format().await {
        let settings = [("AZURE_CLIENT_CERTIFICATE_PATH", &*file), ("AZURE_CLIENT_CERTIFICATE_PASSWORD", password)];
        let secrets = [part.as_str(), files::PASSWORD];
        opens(&tenant, &settings, "client_certificate", &secrets).await;
    }
}

#[tokio::test]
async fn a_refused_credential_is_unauthorized_with_entras_code() {
    let (known, unknown) = (files::Certificate::new().await, files::Certificate::new().await);
    let trust = Credential::Federated { issuer: ISSUER.to_owned(), subject: SUBJECT.to_owned() };
    let tenant = Tenant::start(vec![Credential::Secret(SECRET.to_owned()), trust, known.credential().await]).await;
    let folder = Folder::new();
    let token = folder.write("token", files::federated_token(ISSUER, "another subject"));
    let pem = unknown.pem();
    for (setting, code) in [
        (("AZURE_FEDERATED_TOKEN_FILE", &*token), "AADSTS70"),
        (("AZURE_CLIENT_CERTIFICATE_PATH", &*pem), "AADSTS700027"),
        (("AZURE_CLIENT_SECRET", "mistyped-secret"), "AADSTS7000215"),
    ] {
        let host = tenant.host(&[setting, AT_ONCE]).await;
        // A handler that has stopped may leave its lease held, so each host gets its own key.
        let answer = send(&host, code).await;
        assert_eq!(answer.verdict(), UNAUTHORIZED, "{answer:?}");
        let named = |line: &LogLine| line.text.contains("its caller has to") && line.text.contains(code);
        wait_until(code, async || host.logs().iter().any(named)).await;
        assert!(!answer.body["detail"].to_string().contains("AADSTS"), "{answer:?}");
        assert!(!printed(&host, "mistyped-secret") && !answer.text.contains("mistyped-secret"));
    }
}

#[tokio::test]
async fn a_certificate_file_that_cannot_be_used_ends_the_start_with_its_reason() {
    let (certificate, other) = (files::Certificate::new().await, files::Certificate::new().await);
    let fine = [
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_CLIENT_ID", CLIENT),
        ("LOCK_MODE", "off"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "0"),
    ];
    for (file, reason) in certificate.every_refused_file(&other).await {
        let settings = [&fine[..], &[("AZURE_CLIENT_CERTIFICATE_PATH", &file)]].concat();
        let output = CommandOutput::of(command(&[], settings)).await;
        let last = output.stderr.lines().last().unwrap_or_default();
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(last.contains(" AZURE_CLIENT_CERTIFICATE_PATH names ") && last.contains(reason), "{output:?}");
    }
}

#[tokio::test]
async fn a_managed_identity_opens_dataverse_and_one_that_the_app_does_not_have_does_not() {
    let identity = Options { user_assigned: vec![USER_ASSIGNED.to_owned()], ..Options::default() };
    let world = crate::world_with(sandbox::world::Options { identity, ..Default::default() }).await;
    for (key, id, kind) in
        [("M-1", "", "system_assigned_managed_identity"), ("M-2", USER_ASSIGNED, "user_assigned_managed_identity")]
    {
        let host = world.host("one", &[("AZURE_CLIENT_ID", id)]).await.expect("the handler starts");
        let answer = send(&host, key).await;
        assert_eq!(answer.verdict(), UPSERTED, "{kind}: {answer:?}");
        assert!(printed(&host, &format!("credential={kind}")), "{:?}", host.logs());
    }
    let host = world.host("other", &[AT_ONCE, ("AZURE_CLIENT_ID", CLIENT)]).await.expect("the handler starts");
    assert_eq!(send(&host, "M-3").await.verdict(), UNAUTHORIZED);
}

#[tokio::test]
async fn a_managed_identitys_token_may_say_in_a_number_when_it_expires() {
    let world = crate::world().await;
    world.identity.fault(Fault::NumericExpiry);
    let host = world.host("one", &[]).await.expect("the handler starts");
    for key in ["N-1", "N-2"] {
        let answer = send(&host, key).await;
        assert_eq!(answer.verdict(), UPSERTED, "{answer:?}");
    }
    assert_eq!(world.identity.tokens_issued(), 1, "the lifetime is known");
}

#[tokio::test]
async fn without_a_credential_the_developer_login_is_tried_and_its_absence_costs_no_message() {
    let mut world = crate::world().await;
    world.settings.remove("IDENTITY_ENDPOINT");
    world.settings.remove("IDENTITY_HEADER");
    // A PATH without az and azd.
    let folder = Folder::new();
    let host = world.host("one", &[("PATH", &folder.path("")), ("HOME", &folder.path("")), AT_ONCE]).await;
    let host = host.expect("the handler starts");
    let answer = send(&host, "D-1").await;
    assert_eq!(answer.verdict(), UNAUTHORIZED, "{answer:?}");
    let reasons = "az: not installed (not found on PATH); azd: not installed (not found on PATH)";
    wait_until(reasons, async || printed(&host, reasons)).await;
    assert!(!answer.text.contains("azd"), "{answer:?}");
    assert!(printed(&host, "credential=developer_tools"), "{:?}", host.logs());
    assert_eq!(world.dataverse.requests().total(), 0, "without a token nothing is sent");
}

#[tokio::test]
async fn a_managed_identity_that_fails_or_is_down_is_an_outage() {
    let world = crate::world().await;
    let host = world.host("one", &[AT_ONCE]).await.expect("the handler starts");
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::TOO_MANY_REQUESTS] {
        world.identity.fault(Fault::Status(status));
        let answer = send(&host, "T-8").await;
        assert_eq!(answer.verdict(), UNAVAILABLE, "{status}: {answer:?}");
        world.identity.clear_faults();
    }
    wait_until("the handler has recovered", async || send(&host, "T-8").await.verdict() == UPSERTED).await;
    // Nothing listens on port 1.
    let settings = [("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"), AT_ONCE];
    let host = world.host("two", &settings).await.expect("the handler starts without a token");
    assert_eq!(send(&host, "T-9").await.verdict(), UNAVAILABLE);
}
