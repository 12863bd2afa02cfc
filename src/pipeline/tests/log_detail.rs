//! What the log says about a cause that only an operator can mend: all of it, but none of the service's text.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_log_names_what_an_operator_has_to_mend_and_quotes_no_text_that_can_hold_data() {
    let answered = |status, code, text: &str| Error::answered(status, Some(code), Some(text));
    let token = |refused| Error::NoToken { refused, problem: "AADSTS7000215: Invalid client secret".to_owned() };
    for (fault, expected) in [
        (
            answered(403, 0x8004_0220, "Principal user (Id=7) is missing prvCreateContact privilege for Ada"),
            Some("Dataverse answered 403 0x80040220; PrivilegeDenied prvCreateContact"),
        ),
        (answered(503, 0x8123_4567, "Ada is down"), Some("Dataverse answered 503 0x81234567")),
        (token(true), Some("there is no Entra ID token: AADSTS7000215: Invalid client secret")),
        (token(false), Some("there is no Entra ID token: AADSTS7000215: Invalid client secret")),
        (answered(400, 0x8004_4331, "firstname Ada is too long"), None),
    ] {
        let outcome = World::new([Answer::Fails(fault)]).settle(&contact(&json!({}))).await;
        assert_eq!(outcome.log_detail.as_deref(), expected, "{:?}", outcome.detail);
    }
}
