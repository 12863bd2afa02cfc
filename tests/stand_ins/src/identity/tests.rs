//! Tests both endpoints over real sockets.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::*;

const RESOURCE: &str = "https://org.example";

fn options(tls: Option<Tls>) -> Options {
    let credentials = vec![Credential::Secret("s3cret".to_owned())];
    let apps = vec![App { client_id: "app".to_owned(), credentials }];
    Options { tls, apps, user_assigned: vec!["user-1".to_owned()], ..Options::default() }
}

fn client(tls: Option<&Tls>) -> reqwest::Client {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(tls) = tls {
        let ca = CertificateDer::from_pem_slice(tls.ca_pem().as_bytes()).expect("the authority is PEM");
        roots.add(ca).expect("the authority is a certificate");
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(config).build().expect("the settings are valid")
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("the stand-in answers");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or_default())
}

async fn managed(identity: &Identity, query: &str) -> (u16, Value) {
    let url = format!("{}?{query}", identity.endpoint());
    answer(client(None).get(url).header("X-IDENTITY-HEADER", identity.header())).await
}

#[tokio::test]
async fn the_managed_identity_gets_a_token_that_the_register_knows() {
    let identity = Identity::start(options(None)).await.expect("loopback has a free port");
    let (status, body) = managed(&identity, "api-version=2019-08-01&resource=https%3A%2F%2Forg.example").await;
    assert_eq!((status, &body["token_type"]), (200, &Value::from("Bearer")));
    let claims = identity.tokens().verify(body["access_token"].as_str().expect("a token"), RESOURCE).expect("good");
    assert_eq!(body["expires_on"], claims.expires_at.to_string());
    assert_eq!(identity.tokens_issued(), 1);
    assert_eq!(identity.authority(), None);
}

#[tokio::test]
async fn the_managed_identity_endpoint_is_strict() {
    let identity = Identity::start(options(None)).await.expect("loopback has a free port");
    let good = "api-version=2019-08-01&resource=r";
    assert_eq!(managed(&identity, &format!("{good}&client_id=user-1")).await.1["client_id"], "user-1");
    assert_eq!(managed(&identity, &format!("{good}&client_id=user-2")).await.0, 400);
    assert_eq!(managed(&identity, "api-version=2017-09-01&resource=r").await.0, 400);
    assert_eq!(managed(&identity, "api-version=2019-08-01").await.0, 400);
    let bare = client(None).get(format!("{}?{good}", identity.endpoint()));
    assert_eq!(answer(bare).await.0, 401);
    assert_eq!(identity.tokens_issued(), 1);
}

#[tokio::test]
async fn entra_answers_secrets_and_refuses_in_its_own_words() {
    let tls = Tls::generate().expect("a certificate");
    let identity = Identity::start(options(Some(tls.clone()))).await.expect("loopback has a free port");
    let authority = identity.authority().expect("there is a certificate");
    let http = client(Some(&tls));
    let post = async |tenant: &str, changes: &[(&str, &str)]| {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", "app"),
            ("client_secret", "s3cret"),
            ("scope", "https://org.example/.default"),
        ];
        form.retain(|(name, _)| changes.iter().all(|(other, _)| other != name));
        form.extend(changes);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        answer(http.post(format!("{authority}/{tenant}/oauth2/v2.0/token")).body(body)).await
    };
    let tenant = Options::default().tenant;
    let (status, body) = post(&tenant, &[]).await;
    assert_eq!((status, &body["token_type"]), (200, &Value::from("Bearer")));
    assert!(identity.tokens().verify(body["access_token"].as_str().expect("a token"), RESOURCE).is_ok());
    let cases = [
        ("client_secret", "wrong", 401, "invalid_client", 7_000_215),
        ("client_id", "unknown", 400, "unauthorized_client", 700_016),
        ("scope", "https://org.example", 400, "invalid_scope", 70011),
        ("grant_type", "password", 400, "unsupported_grant_type", 70003),
    ];
    for (name, value, status, error, code) in cases {
        let (got, body) = post(&tenant, &[(name, value)]).await;
        assert_eq!((got, &body["error"], &body["error_codes"][0]), (status, &error.into(), &code.into()), "{name}");
    }
    assert_eq!(post("elsewhere", &[]).await.1["error_codes"][0], 90002);
    let discovery = http.get(format!("{authority}/{tenant}/v2.0/.well-known/openid-configuration"));
    assert_eq!(answer(discovery).await.1["token_endpoint"], format!("{authority}/{tenant}/oauth2/v2.0/token"));
}

#[tokio::test]
async fn faults_last_until_they_are_cleared() {
    let identity = Identity::start(options(None)).await.expect("loopback has a free port");
    let query = "api-version=2019-08-01&resource=https%3A%2F%2Forg.example";
    identity.fault(Fault::Status(StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(managed(&identity, query).await.0, 429);
    identity.clear_faults();
    identity.fault(Fault::WrongAudience);
    let (_, body) = managed(&identity, query).await;
    let refused = identity.tokens().verify(body["access_token"].as_str().expect("a token"), RESOURCE);
    assert_eq!(refused, Err(Refusal::WrongAudience));
    identity.clear_faults();
    assert_eq!(managed(&identity, query).await.0, 200);
}
