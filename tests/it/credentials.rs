//! The real handler with every kind of credential, against the sandbox's Entra tenant and managed identity.
//!
//! A refused credential or an unreachable authority loses no message. `openssl` makes the certificates.

mod certificates;
mod failures;
mod secrets;
mod tenant;

use stand_ins::identity::{App, Credential, Options};
use tenant::{CLIENT, SECRET, Tenant, federated_token};

use super::AT_ONCE;
use super::one_contact::{UPSERTED, printed, send};
use super::trust::Folder;

const USER_ASSIGNED: &str = "44444444-4444-4444-8444-444444444444";

#[tokio::test]
async fn a_client_secret_opens_dataverse() {
    let tenant = Tenant::start(vec![Credential::Secret(SECRET.to_owned())]).await;
    let host = tenant.host(&[("AZURE_CLIENT_SECRET", SECRET)]).await;
    assert_eq!(send(&host, "S-1").await.verdict(), UPSERTED);
    assert_eq!(send(&host, "S-2").await.verdict(), UPSERTED);
    assert!(printed(&host, "credential=client_secret"), "the log names the credential: {:?}", host.logs());
    assert_eq!(tenant.world.identity.tokens_issued(), 1, "a token is used as long as it is good");
}

#[tokio::test]
async fn a_federated_token_opens_dataverse() {
    let (issuer, subject) = ("https://cluster.example", "system:serviceaccount:sync:handler");
    let trust = Credential::Federated { issuer: issuer.to_owned(), subject: subject.to_owned() };
    let tenant = Tenant::start(vec![trust]).await;
    let folder = Folder::new();
    let file = folder.write("token", federated_token(issuer, subject));
    let host = tenant.host(&[("AZURE_FEDERATED_TOKEN_FILE", &file)]).await;
    assert_eq!(send(&host, "W-1").await.verdict(), UPSERTED);
    assert!(printed(&host, "credential=workload_identity"), "{:?}", host.logs());
}

#[tokio::test]
async fn a_federated_token_of_another_subject_is_refused() {
    let trust = Credential::Federated { issuer: "https://cluster.example".to_owned(), subject: "handler".to_owned() };
    let tenant = Tenant::start(vec![trust]).await;
    let folder = Folder::new();
    let file = folder.write("token", federated_token("https://cluster.example", "stranger"));
    let host = tenant.host(&[("AZURE_FEDERATED_TOKEN_FILE", &file), AT_ONCE]).await;
    let answer = send(&host, "W-2").await;
    assert_eq!(answer.verdict(), (503, "retry", "unauthorized"), "{answer:?}");
}

#[tokio::test]
async fn the_system_assigned_identity_opens_dataverse() {
    let world = crate::world().await;
    let host = world.host("one", &[]).await.expect("the handler starts");
    assert_eq!(send(&host, "M-1").await.verdict(), UPSERTED);
    assert!(printed(&host, "credential=system_assigned_managed_identity"), "{:?}", host.logs());
}

#[tokio::test]
async fn a_user_assigned_identity_opens_dataverse_and_one_that_the_app_does_not_have_does_not() {
    let identity =
        Options { system_assigned: None, user_assigned: vec![USER_ASSIGNED.to_owned()], ..Options::default() };
    let world = crate::world_with(sandbox::world::Options { identity, ..Default::default() }).await;
    let host = world.host("one", &[("AZURE_CLIENT_ID", USER_ASSIGNED)]).await.expect("the handler starts");
    assert_eq!(send(&host, "M-2").await.verdict(), UPSERTED);
    assert!(printed(&host, "credential=user_assigned_managed_identity"), "{:?}", host.logs());

    // A handler that is killed right after its answer may leave its lease held, so each host gets its own key.
    for (key, settings) in [("M-3", &[AT_ONCE, ("AZURE_CLIENT_ID", CLIENT)][..]), ("M-4", &[AT_ONCE])] {
        let host = world.host("other", settings).await.expect("the handler starts");
        let answer = send(&host, key).await;
        assert_eq!(answer.verdict(), (503, "retry", "unauthorized"), "{settings:?}: {answer:?}");
    }
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
    assert_eq!(answer.verdict(), (503, "retry", "unauthorized"), "{answer:?}");
    assert!(printed(&host, "credential=developer_tools"), "{:?}", host.logs());
    assert_eq!(world.dataverse.requests().total(), 0, "without a token nothing is sent");
}

/// The application of these tests, with these credentials.
fn app(credentials: Vec<Credential>) -> App {
    App { client_id: CLIENT.to_owned(), credentials }
}
