//! Whom a token is for: those claims, and nothing else of the token; and the remedy where there is none. Pure.
//!
//! The token is not verified; only the service can do that.
//! <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::identity::TokenError;
use crate::record::guid;

#[derive(Default, Deserialize)]
struct Claims {
    /// The application, or the managed identity's client id.
    appid: Option<String>,
    /// As `appid`, in a token of version 2.
    azp: Option<String>,
    /// The service principal or user.
    oid: Option<String>,
    /// The directory.
    tid: Option<String>,
}

/// The identity in a JWT. A claim that is not a GUID is left out, so that nothing unexpected is printed.
pub(super) fn identity(token: &str) -> String {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    let claims: Claims = payload.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    let claims = [("appid", claims.appid.or(claims.azp)), ("oid", claims.oid), ("tid", claims.tid)];
    let known = claims.into_iter().filter_map(|(name, id)| guid(&id?).map(|id| format!("{name} {id}")));
    let known = known.collect::<Vec<_>>().join(", ");
    if known.is_empty() { "it does not say for whom".to_owned() } else { known }
}

/// Why there is no token, and the remedy: a problem for each source of the credential.
pub(super) fn problems(credential: &str, error: &TokenError) -> Vec<(String, &'static str)> {
    if error.sources.is_empty() {
        return vec![(format!("{credential}: {error}"), remedy(credential, error))];
    }
    let problem = |(source, reason): &(&str, String)| {
        let remedy = match *source {
            "az" => "az login, where the Azure CLI is installed; one login is enough",
            "azd" => "azd auth login, where the Azure Developer CLI is installed; one login is enough",
            _ => by_credential(credential),
        };
        (format!("{credential}, {source}: {reason}"), remedy)
    };
    error.sources.iter().map(problem).collect()
}

/// The remedy by Entra ID's code, else by the credential's name in the log.
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
fn remedy(credential: &str, error: &TokenError) -> &'static str {
    if !error.refused {
        return "check that Entra ID can be reached from here, and try again later";
    }
    match error.code {
        Some(7_000_222) => "make a new secret for the application, and set AZURE_CLIENT_SECRET to its value",
        Some(7_000_215) => "set AZURE_CLIENT_SECRET to the value of a secret of the application, not to its id",
        Some(700_011 | 700_016) => "check that AZURE_CLIENT_ID is an application of the tenant AZURE_TENANT_ID",
        Some(90_002) => "check AZURE_TENANT_ID; for another cloud than the public one set AZURE_AUTHORITY_HOST",
        Some(500_011) => "check that DATAVERSE_URL is an environment of the tenant AZURE_TENANT_ID",
        Some(700_024) => "check this machine's clock, and that its federated token is renewed",
        Some(7_000_112) => "enable the application's sign-in in Entra ID, under Enterprise applications",
        _ => by_credential(credential),
    }
}

fn by_credential(credential: &str) -> &'static str {
    match credential {
        "client_secret" => {
            "check that AZURE_CLIENT_SECRET is the value (not the id) of a secret that has not expired, and AZURE_TENANT_ID and \
             AZURE_CLIENT_ID are the application's"
        }
        "client_certificate" => {
            "upload the certificate of AZURE_CLIENT_CERTIFICATE_PATH to the application of AZURE_CLIENT_ID"
        }
        "workload_identity" => {
            "give the application of AZURE_CLIENT_ID a federated credential for this issuer and subject"
        }
        "user_assigned_managed_identity" => {
            "assign the identity with the client id AZURE_CLIENT_ID to the function app"
        }
        "system_assigned_managed_identity" => {
            "turn the function app's system-assigned identity on, or name a user-assigned one in AZURE_CLIENT_ID"
        }
        _ => "az login, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn token(payload: &str) -> String {
        format!("canary.{}.canary", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn shows_the_identity_and_nothing_else() {
        let [app, object, tenant] = [1, 2, 3].map(Uuid::from_u128);
        let payload = format!(
            r#"{{"aud":"canary","appid":"{app}","oid":"{object}","tid":"{tenant}","name":"canary","roles":["canary"]}}"#
        );
        assert_eq!(identity(&token(&payload)), format!("appid {app}, oid {object}, tid {tenant}"));
        assert_eq!(identity(&token(&format!(r#"{{"azp":"{app}"}}"#))), format!("appid {app}"));
    }

    #[test]
    fn a_text_that_is_not_such_a_token_has_no_claims() {
        for text in ["canary", "", "a.b.c", &token("[]"), &token(r#"{"appid":"canary"}"#), &token("{}")] {
            assert_eq!(identity(text), "it does not say for whom");
        }
    }

    #[test]
    fn the_remedy_depends_on_entras_code_and_else_on_the_credential() {
        let error = |refused, code| TokenError { refused, code, problem: String::new(), sources: Vec::new() };
        for (credential, refused, code, word) in [
            ("client_secret", true, Some(7_000_222), "a new secret"),
            ("client_secret", true, Some(7_000_215), "not to its id"),
            ("client_certificate", true, Some(700_016), "AZURE_CLIENT_ID is an application"),
            ("client_certificate", true, Some(700_027), "upload the certificate"),
            ("workload_identity", true, None, "federated credential"),
            ("client_secret", false, Some(90033), "reached"),
        ] {
            let remedy = remedy(credential, &error(refused, code));
            assert!(remedy.contains(word), "{credential} {code:?}: {remedy}");
        }
    }

    #[test]
    fn each_source_of_a_credential_is_a_problem_with_its_own_remedy() {
        let sources = vec![("az", "not installed".to_owned()), ("azd", "not logged in".to_owned())];
        let problem = "az: not installed; azd: not logged in".to_owned();
        let error = TokenError { refused: true, code: None, problem, sources };
        let problems = problems("developer_tools", &error);
        let expected = ["developer_tools, az: not installed", "developer_tools, azd: not logged in"];
        assert_eq!(problems.iter().map(|(found, _)| found.as_str()).collect::<Vec<_>>(), expected);
        assert!(problems[0].1.starts_with("az login") && problems[1].1.starts_with("azd auth login"), "{problems:?}");
    }
}
