//! The dependencies: licences, sources, and one version of each crate that matters.

use std::collections::{BTreeMap, BTreeSet};

use sandbox::stage::packages::Packages;
use spdx::{Expression, ParseMode};

/// Licences that ask for nothing but the notices which `cargo stage` lays beside the executable.
const ALLOWED: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "NCSA",
    "Unicode-3.0",
    "Zlib",
];

/// A second version of one of these is a second runtime, client or parser, or a type that does not fit.
const ONCE: [&str; 31] = [
    "axum",
    "azure_core",
    "azure_identity",
    "bytes",
    "clap",
    "futures-util",
    "h2",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "icu_normalizer",
    "icu_properties",
    "idna",
    "opentelemetry",
    "opentelemetry_sdk",
    "reqwest",
    "ring",
    "rustls",
    "rustls-webpki",
    "serde",
    "serde_json",
    "thiserror",
    "time",
    "tokio",
    "tokio-rustls",
    "tower",
    "tracing",
    "tracing-subscriber",
    "typespec_client_core",
    "url",
];

/// The packages for every platform, as the lock file has them.
fn packages() -> Packages {
    Packages::read(&["--locked"]).expect("the lock file is complete")
}

/// Whether a licence expression can be met with allowed licences alone, without an exception.
fn is_allowed(expression: &str) -> bool {
    // Older crates write `MIT/Apache-2.0`.
    let expression = Expression::parse_mode(expression, ParseMode::LAX);
    let allows = |required: &spdx::LicenseReq| {
        required.license.id().is_some_and(|id| ALLOWED.contains(&id.name)) && required.addition.is_none()
    };
    expression.is_ok_and(|expression| expression.evaluate(allows))
}

#[test]
fn every_licence_is_allowed() {
    let packages = packages();
    let refused = packages.all().iter().filter(|package| !package.license.as_deref().is_some_and(is_allowed));
    let refused: Vec<_> = refused.map(|package| (&package.name, &package.license)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn an_expression_is_allowed_only_if_every_licence_that_it_asks_for_is() {
    for (expression, expected) in [
        ("MIT OR GPL-3.0-only", true),
        ("MIT/Apache-2.0", true),
        ("(MIT OR LGPL-2.1-or-later) AND Unicode-3.0", true),
        ("MIT AND GPL-3.0-only", false),
        ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("LicenseRef-own", false),
        ("SEE LICENSE", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression), expected, "{expression}");
    }
}

#[test]
fn every_package_is_of_this_workspace_or_of_the_registry() {
    let packages = packages();
    let own: BTreeSet<_> =
        packages.all().iter().filter(|package| package.source.is_none()).map(|package| package.name.as_str()).collect();
    assert_eq!(own, BTreeSet::from(["dataverse-sync", "fuzz", "sandbox", "stand_ins"]));
    let others: BTreeSet<_> = packages.all().iter().filter_map(|package| package.source.as_deref()).collect();
    let is_registry = |source: &&str| source.starts_with("registry+https://");
    assert!(others.len() == 1 && others.iter().all(is_registry), "{others:?}");
}

#[test]
fn each_crate_that_matters_is_there_in_one_version() {
    let packages = packages();
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in packages.all() {
        versions.entry(package.name.as_str()).or_default().push(package.version.as_str());
    }
    let several: Vec<_> = ONCE.iter().filter(|name| versions.get(*name).is_none_or(|found| found.len() != 1)).collect();
    assert!(
        several.is_empty(),
        "not once: {:?}",
        several.iter().map(|name| (name, versions.get(*name))).collect::<Vec<_>>()
    );
}
