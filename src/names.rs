//! Names that resemble an unknown one: but for case, underscores or a few letters. Pure.

/// More names than this that fit equally well are no help.
pub(crate) const MAX_SUGGESTIONS: usize = 2;

/// How unlike two names are; `None` if they have little in common.
pub(crate) fn difference(name: &str, candidate: &str) -> Option<usize> {
    let (name, candidate) = (name.to_ascii_lowercase(), candidate.to_ascii_lowercase());
    let without_underscores = |name: &str| name.replace('_', "");
    if candidate == name {
        return Some(0);
    }
    if without_underscores(&candidate) == without_underscores(&name) {
        return Some(1);
    }
    let distance = strsim::osa_distance(&name, &candidate);
    (distance <= (name.len() / 4).clamp(1, 3)).then_some(2 + distance)
}

/// The candidates with the smallest difference; none where too many fit equally well.
pub(crate) fn nearest<'a>(
    candidates: impl Iterator<Item = &'a str>,
    difference: impl Fn(&str) -> Option<usize>,
) -> Vec<&'a str> {
    let mut ranked: Vec<_> = candidates.filter_map(|candidate| Some((difference(candidate)?, candidate))).collect();
    ranked.sort_unstable();
    ranked.dedup();
    let best = ranked.first().map(|(rank, _)| *rank);
    let best: Vec<_> = ranked.iter().filter(|(rank, _)| Some(*rank) == best).map(|(_, name)| *name).collect();
    if best.len() > MAX_SUGGESTIONS { Vec::new() } else { best }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_differ_least_are_found_and_none_where_many_do() {
        const NAMES: [&str; 6] = ["SYNC_HOLD_SECONDS", "SYNC_TABLES", "a1", "a2", "a3", "DATAVERSE_URL"];
        for (name, expected) in [
            ("SYNC_HOLD_SECOND", &["SYNC_HOLD_SECONDS"][..]),
            ("sync_tables", &["SYNC_TABLES"]),
            ("DATAVERSEURL", &["DATAVERSE_URL"]),
            ("URL", &[]),
            ("a4", &[]),
            ("", &[]),
        ] {
            assert_eq!(nearest(NAMES.into_iter(), |candidate| difference(name, candidate)), expected, "{name}");
        }
    }
}
