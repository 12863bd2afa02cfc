//! The developer's login, of the first tool that has one: `az`, then `azd`.
//!
//! The SDK's own chain ends its message with a colon and lists the reasons on further lines; this one keeps each tool's reason.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential, AzureDeveloperCliCredentialOptions,
    Executor,
};
use tokio::time::timeout;

use super::error::{TokenError, innermost, quote};

/// The longest wait for one tool, as in the SDKs for other languages.
const TOOL_TIMEOUT: Duration = Duration::from_secs(13);

/// The login of one of these tools.
#[derive(Debug)]
pub(super) struct DeveloperTools([(&'static str, Arc<dyn TokenCredential>); 2]);

impl DeveloperTools {
    pub(super) fn new(executor: Arc<dyn Executor>) -> azure_core::Result<Self> {
        let az = AzureCliCredentialOptions { executor: Some(executor.clone()), ..Default::default() };
        let azd = AzureDeveloperCliCredentialOptions { executor: Some(executor), ..Default::default() };
        Ok(Self([("az", AzureCliCredential::new(Some(az))?), ("azd", AzureDeveloperCliCredential::new(Some(azd))?)]))
    }
}

#[async_trait]
impl TokenCredential for DeveloperTools {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let mut reasons = Vec::new();
        for (tool, credential) in &self.0 {
            let reason = match timeout(TOOL_TIMEOUT, credential.get_token(scopes, options.clone())).await {
                Ok(Ok(token)) => return Ok(token),
                Ok(Err(error)) => reason(&error),
                Err(_) => "no answer in time".to_owned(),
            };
            reasons.push((*tool, reason));
        }
        Err(TokenError::of_sources(reasons).into())
    }
}

fn reason(error: &azure_core::Error) -> String {
    let error = innermost(error);
    if matches!(error.kind(), ErrorKind::DataConversion) {
        // The parser's message may quote the token.
        return "its answer is not understood".to_owned();
    }
    let text = error.to_string();
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find_map(|line| line.strip_prefix("ERROR:")).or_else(|| lines().next()).unwrap_or_default();
    let is_missing = line.ends_with(" not found on PATH");
    if is_missing { "not installed (not found on PATH)".to_owned() } else { quote(line) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::io;
    use std::process::Output;

    use tokio::time::Instant;

    use super::*;

    /// What each tool answers: its exit code, stdout and stderr.
    #[derive(Debug)]
    struct Script([(&'static str, i32, &'static str, &'static str); 2]);

    #[async_trait]
    impl Executor for Script {
        async fn run(&self, _: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
            let command = arguments.last().and_then(|command| command.to_str()).expect("a command line");
            let answer = self.0.iter().find(|(tool, ..)| command.contains(&format!(" {tool} ")));
            let (_, code, stdout, stderr) = answer.expect("az or azd");
            Ok(Output { status: status(*code), stdout: stdout.as_bytes().into(), stderr: stderr.as_bytes().into() })
        }
    }

    #[cfg(unix)]
    fn status(code: i32) -> std::process::ExitStatus {
        std::os::unix::process::ExitStatusExt::from_raw(code << 8)
    }

    #[cfg(windows)]
    fn status(code: i32) -> std::process::ExitStatus {
        std::os::windows::process::ExitStatusExt::from_raw(code.cast_unsigned())
    }

    async fn token(
        az: (i32, &'static str, &'static str),
        azd: (i32, &'static str, &'static str),
    ) -> Result<String, TokenError> {
        let script = Script([("az", az.0, az.1, az.2), ("azd", azd.0, azd.1, azd.2)]);
        let tools = DeveloperTools::new(Arc::new(script)).expect("there are no settings");
        let token = tools.get_token(&["https://contoso.crm.dynamics.com/.default"], None).await;
        token.map(|token| token.token.secret().to_owned()).map_err(|error| TokenError::from(&error))
    }

    const AZD: &str = r#"{"token":"azd-token","expiresOn":"2099-01-01T00:00:00Z"}"#;
    const MISSING: (i32, &str, &str) = (127, "", "/bin/sh: 1: az: not found\n");

    #[tokio::test]
    async fn the_first_tool_with_a_login_gives_the_token() {
        let az = (0, r#"{"accessToken":"az-token","expires_on":4102444800,"tokenType":"Bearer"}"#, "");
        assert_eq!(token(az, MISSING).await.as_deref(), Ok("az-token"));
        assert_eq!(token(MISSING, (0, AZD, "")).await.as_deref(), Ok("azd-token"));
    }

    #[tokio::test]
    async fn each_tool_has_its_own_reason_in_one_line_without_a_secret() {
        let not_signed_in =
            r#"{"type":"consoleMessage","data":{"message":"\nERROR: not logged in, run `azd auth login` to login\n"}}"#;
        let expired = "WARNING: an upgrade is available\nERROR: AADSTS700082: The refresh token has expired. Trace ID: 1\n\
                       Correlation ID: 2\nInteractive authentication is needed. Please run:\naz login\n";
        for (az, azd, expected) in [
            (MISSING, MISSING, "az: not installed (not found on PATH); azd: not installed (not found on PATH)"),
            (
                (1, "", "ERROR: Please run 'az login' to setup account.\n"),
                (1, "", not_signed_in),
                "az: Please run 'az login' to setup account.; azd: not logged in, run `azd auth login` to login",
            ),
            (
                (1, "", expired),
                (0, r#"{"token":"eyJhbGciOiJSUzI1NiJ9.e30.c2ln","expiresOn":7}"#, ""),
                "az: AADSTS700082: The refresh token has expired.; azd: its answer is not understood",
            ),
            (
                (1, "", "\u{1b}[31mfailed with eyJhbGciOiJSUzI1NiJ9.e30.c2ln\n"),
                MISSING,
                r"az: \u001b[31mfailed with …; azd: not installed (not found on PATH)",
            ),
        ] {
            let error = token(az, azd).await.expect_err("no login");
            assert_eq!((error.refused, error.problem.as_str()), (true, expected));
            assert_eq!(error.sources.iter().map(|(tool, _)| *tool).collect::<Vec<_>>(), ["az", "azd"]);
        }
    }

    /// A tool that prints nothing and does not end.
    #[derive(Debug)]
    struct Hangs;

    #[async_trait]
    impl Executor for Hangs {
        async fn run(&self, _: &OsStr, _: &[&OsStr]) -> io::Result<Output> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tool_that_does_not_end_is_given_up() {
        let tools = DeveloperTools::new(Arc::new(Hangs)).expect("there are no settings");
        let begun = Instant::now();
        let error = tools.get_token(&["https://contoso.crm.dynamics.com/.default"], None).await.expect_err("no token");
        assert_eq!(TokenError::from(&error).problem, "az: no answer in time; azd: no answer in time");
        assert_eq!(begun.elapsed(), 2 * TOOL_TIMEOUT);
    }

    #[tokio::test]
    async fn a_long_reason_is_cut() {
        let long: &'static str = "x".repeat(5_000).leak();
        let error = token((1, "", long), (1, "", long)).await.expect_err("no login");
        assert!(error.problem.chars().count() < 700, "{error}");
    }
}
