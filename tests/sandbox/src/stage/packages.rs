//! The packages of the workspace, as cargo resolves them from the lock file.
//!
//! <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html>

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::builder::cargo;

/// What `cargo metadata` prints.
#[derive(Debug, Deserialize)]
pub struct Packages {
    #[serde(rename = "packages")]
    all: Vec<Package>,
    /// Not with `--no-deps`.
    resolve: Option<Resolve>,
    /// Where cargo builds.
    pub target_directory: PathBuf,
}

/// One package.
#[derive(Debug, Deserialize)]
pub struct Package {
    id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// Where it is developed.
    pub repository: Option<String>,
    /// Where it comes from; `None` for a package of this workspace.
    pub source: Option<String>,
    /// Its Cargo.toml.
    pub manifest_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    /// `None` for a normal dependency, as opposed to `dev` and `build`.
    kind: Option<String>,
}

impl Packages {
    /// Reads the packages; `arguments` are further ones of `cargo metadata`, such as `--locked`.
    ///
    /// # Errors
    /// When cargo cannot resolve them.
    pub fn read(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1"]).args(arguments);
        let output = command.output().context("running cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("reading what cargo metadata printed")
    }

    /// All of them.
    pub fn all(&self) -> &[Package] {
        &self.all
    }

    /// The packages that a build of the package `root` links, other than those of this workspace, by name and version.
    pub fn linked_into(&self, root: &str) -> Vec<&Package> {
        let nodes: BTreeMap<_, _> =
            self.resolve.iter().flat_map(|resolve| &resolve.nodes).map(|node| (node.id.as_str(), node)).collect();
        let first = self.all.iter().find(|package| package.source.is_none() && package.name == root);
        let mut next: Vec<_> = first.map(|package| package.id.as_str()).into_iter().collect();
        let mut linked = BTreeSet::new();
        while let Some(id) = next.pop() {
            if linked.insert(id) {
                let deps = nodes.get(id).into_iter().flat_map(|node| &node.deps);
                let normal = deps.filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind.is_none()));
                next.extend(normal.map(|dep| dep.pkg.as_str()));
            }
        }
        let mut found: Vec<_> = self.all.iter().filter(|package| linked.contains(package.id.as_str())).collect();
        found.retain(|package| package.source.is_some());
        found.sort_by_key(|package| (&package.name, &package.version));
        found
    }
}
