//! The handler without mimalloc: valgrind does not see mimalloc's allocations, only the C library's.
//!
//! The number of allocations does not depend on the allocator. The executable is copied to `target/bench`, and the
//! usual one is then rebuilt, which is cheap, so that its path has the usual executable again.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::ProgressBar;

use crate::bench::report;
use crate::stage::{self, Build};

/// Builds it with the usual one's other options; returns its path.
pub(super) fn build(usual: &Build, bar: &ProgressBar) -> anyhow::Result<PathBuf> {
    bar.suspend(|| {
        eprintln!("  building the handler once more, without mimalloc: valgrind sees none of its allocations");
        let folder = report::folder();
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let path = folder.join(format!("handler-without-mimalloc{EXE_SUFFIX}"));
        let copied = fs::copy(stage::build(&without_mimalloc(usual))?, &path);
        stage::build(usual).context("building the usual handler again")?;
        copied.with_context(|| format!("copying the handler to {}", path.display()))?;
        Ok(path)
    })
}

fn without_mimalloc(usual: &Build) -> Build {
    Build { no_default_features: true, ..usual.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_profile_of_the_usual_handler() {
        for release in [true, false] {
            let without_mimalloc = without_mimalloc(&Build { release, ..Build::default() });
            assert!(
                without_mimalloc.no_default_features
                    && without_mimalloc.release == release
                    && without_mimalloc.target.is_none()
            );
        }
    }
}
