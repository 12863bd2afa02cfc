//! Client assertions: the signed tokens with which an application with a certificate, or a federated workload,
//! authenticates.
//!
//! It rejects an assertion with a wrong number of parts, algorithm, audience, issuer or subject, and an expired one.
//! The signature is verified only if the application's public key is known. Mirrors
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials> and
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use super::entra::Denied;
use super::{App, Credential};

/// The audience of federated tokens.
const FEDERATION_AUDIENCE: &str = "api://AzureADTokenExchange";

/// Validates `assertion`, presented for `app` at `token_url`; `now` is in unix seconds.
pub(super) fn check(assertion: &str, app: &App, token_url: &str, now: i64) -> Result<(), Denied> {
    let parsed = Parsed::read(assertion)
        .ok_or_else(|| Denied::request("invalid_request", 50027, "JWT token is invalid or malformed."))?;
    if parsed.claims["exp"].as_i64().is_none_or(|exp| exp <= now) {
        return Err(Denied::client(700_024, "Client assertion is not within its valid time range."));
    }
    if parsed.text("iss") == app.client_id {
        return check_certificate(&parsed, app, token_url);
    }
    check_federated(&parsed, app)
}

fn check_certificate(parsed: &Parsed<'_>, app: &App, token_url: &str) -> Result<(), Denied> {
    if parsed.text("sub") != app.client_id {
        return Err(Denied::client(700_021, "Client assertion application identifier doesn't match 'client_id'."));
    }
    if parsed.text("aud") != token_url {
        return Err(Denied::client(700_023, "Client assertion audience claim does not match Realm issuer."));
    }
    let verifies = |credential: &Credential| match credential {
        Credential::Certificate { public_key: None } => true,
        Credential::Certificate { public_key: Some(key) } => parsed.is_signed_by(key),
        Credential::Secret(_) | Credential::Federated { .. } => false,
    };
    if app.credentials.iter().any(verifies) {
        return Ok(());
    }
    Err(Denied::client(700_027, "Client assertion failed signature validation."))
}

fn check_federated(parsed: &Parsed<'_>, app: &App) -> Result<(), Denied> {
    let trusted = |credential: &Credential| match credential {
        Credential::Federated { issuer, subject } => parsed.text("iss") == issuer && parsed.text("sub") == subject,
        Credential::Secret(_) | Credential::Certificate { .. } => false,
    };
    if !app.credentials.iter().any(trusted) {
        return Err(Denied::client(
            700_213,
            "No matching federated identity record found for presented assertion subject.",
        ));
    }
    if parsed.text("aud") != FEDERATION_AUDIENCE {
        return Err(Denied::client(700_212, "No matching federated identity record found for the assertion audience."));
    }
    Ok(())
}

struct Parsed<'a> {
    algorithm: String,
    claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parsed<'a> {
    fn read(assertion: &'a str) -> Option<Self> {
        let (signed, signature) = assertion.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let algorithm = header["alg"].as_str().filter(|alg| ["RS256", "PS256"].contains(alg))?.to_owned();
        Some(Self { algorithm, claims, signed, signature: BASE64_URL_SAFE_NO_PAD.decode(signature).ok()? })
    }

    fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap_or_default()
    }

    fn is_signed_by(&self, public_key: &[u8]) -> bool {
        let parameters =
            if self.algorithm == "PS256" { &RSA_PSS_2048_8192_SHA256 } else { &RSA_PKCS1_2048_8192_SHA256 };
        UnparsedPublicKey::new(parameters, public_key).verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use serde_json::json;

    use super::*;

    const TOKEN_URL: &str = "https://login.example/t/oauth2/v2.0/token";

    /// The claims that both signatures below cover; the private key was not kept.
    const CLAIMS: &str =
        r#"{"aud":"https://login.example/t/oauth2/v2.0/token","iss":"app","sub":"app","exp":4102444800}"#;
    const PUBLIC_KEY: &str = "\
        MIIBCgKCAQEAzr4GGmJn79mF+Lnv+t+rSLhc+3jBCH3u+3fKVG1uJyfZKiw/FOPtYhHGZMSl1fxRgVHC7ocUkGpwRLZbIRt6\
        sydC72UaY8prhcgiW3mXhG9S+OQdVRnQhPROaALOR016YYy7zbwNupthIh600TjSlxAgSWcXLy1toDXR3fU0h0UoahtxRgeF\
        bXFjWm8y+K9d/vQTEm7FNEburd45oXW2dIb9sV7wCiwu8sxBd+C2r6tbYDtGNsuhJTWA8VDXA+X2FpqttSD81YLrFCazWO3l\
        +fUGu6sedchIGKNNAW73VOQCR8KeEz7UMv8rp3qlMu2C2XsPg0bkj3T5rC1FXgaYdwIDAQAB";
    const RS256: &str = "\
        kSxNoLGPGaxKjS7VXikPpDp2Mtx0WCeLpolz9OpVzqaxGSEXwgZICnfqZx0XgPCXOkIAqez9v61B8SiSfc0c5chStc8WGvhh\
        sYRywV5BCSBQKAuX07N-sNHu5j5uhv_hbh7rChS8POEgwvrj1pNfBoPnc91pT3nHPnc-ZSDJaPtcKtHtG96qNOa-48lrRtfW\
        weakOMncEW2USNAhghJv-8G08lzYRzooQmJuEpKB07JshZkyoEePTBb-DuAjpFnW7CbElsBXmmaK7nLrncYchZWXTyAFSPLj\
        ziPo9p02FW2mh7gkSKRq9iAKRhqxhmQJsZBUxewcLr2uHxVfLq8Vtg";
    const PS256: &str = "\
        TwBZKi6pk4VXPwQf-3A7efKeEzVHn4n5CfmZvZ-WZLViJxXRvc_JOmv6k3v3JGcQxoHMR67_dmurjhSPDtY7OB8M4meXDXmD\
        gfIi5Eg6X1M10-H8tnyC0sqf5nzIs8NNvq4XRrQrYjqteUA5gtyqyyHo_6QFlm8jifpMotaQEtvy_LrT7MA-I62Bt-CTM_qi\
        k1FqohBeIdyDwc2F-8vlHqzTaoHIlzi4Ed7ZwqiNFLEQaM5iCj8AR3kwFKQikcOruoYeNOwb_2tiPLOlPPAuGTZPR0JtZBhV\
        Z28FhulpIPNmX7TJ77jEIu316CtykEsxqc9TyWAr_M886bJpRrTdhQ";

    fn app(credential: Credential) -> App {
        App { client_id: "app".to_owned(), credentials: vec![credential] }
    }

    fn certificate() -> App {
        let public_key = BASE64_STANDARD.decode(PUBLIC_KEY).expect("the key is base64");
        app(Credential::Certificate { public_key: Some(public_key) })
    }

    fn assertion(algorithm: &str, claims: &str, signature: &str) -> String {
        let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
        format!("{}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    fn code(assertion: &str, app: &App) -> u32 {
        check(assertion, app, TOKEN_URL, 1_000).err().map_or(0, |denied| denied.code)
    }

    #[test]
    fn a_signature_of_either_algorithm_is_verified() {
        assert_eq!(code(&assertion("RS256", CLAIMS, RS256), &certificate()), 0);
        assert_eq!(code(&assertion("PS256", CLAIMS, PS256), &certificate()), 0);
        assert_eq!(code(&assertion("PS256", CLAIMS, RS256), &certificate()), 700_027);
        let later = CLAIMS.replace("4102444800", "4102444801");
        assert_eq!(code(&assertion("RS256", &later, RS256), &certificate()), 700_027);
    }

    #[test]
    fn each_claim_has_to_be_right() {
        let app = app(Credential::Certificate { public_key: None });
        let with = |name: &str, value: Value| {
            let mut claims: Value = serde_json::from_str(CLAIMS).expect("the claims are JSON");
            claims[name] = value;
            assertion("RS256", &claims.to_string(), "c2ln")
        };
        assert_eq!(code(&with("sub", json!("app")), &app), 0);
        assert_eq!(code(&with("sub", json!("other")), &app), 700_021);
        assert_eq!(code(&with("aud", json!("https://login.example")), &app), 700_023);
        assert_eq!(code(&with("exp", json!(1_000)), &app), 700_024);
        assert_eq!(code(&with("iss", json!("other")), &app), 700_213);
        assert_eq!(code(&assertion("none", CLAIMS, ""), &app), 50027);
        assert_eq!(code("a.b", &app), 50027);
    }

    #[test]
    fn a_federated_token_is_trusted_by_issuer_and_subject() {
        let app = app(Credential::Federated { issuer: "https://k8s.example".to_owned(), subject: "pod".to_owned() });
        let token = |subject: &str, audience: &str| {
            let claims = json!({ "iss": "https://k8s.example", "sub": subject, "aud": audience, "exp": 2_000 });
            assertion("RS256", &claims.to_string(), "c2ln")
        };
        assert_eq!(code(&token("pod", FEDERATION_AUDIENCE), &app), 0);
        assert_eq!(code(&token("other", FEDERATION_AUDIENCE), &app), 700_213);
        assert_eq!(code(&token("pod", "api://other"), &app), 700_212);
    }
}
