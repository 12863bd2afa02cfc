//! The columns of a CSV file against the options and the table's definition. Pure.

use super::arguments::RecordOptions;
use super::definition::Columns;
use super::kind::Kind;
use super::lookup::Lookup;
use crate::record::{BIND, is_logical_name};

/// Where the kinds of columns come from.
pub(super) struct Kinds<'a> {
    pub(super) options: &'a RecordOptions,
    /// The table's definition, where there is one.
    pub(super) definition: Option<Columns>,
}

impl Kinds<'_> {
    /// The kind of a column: as it is named, else by the definition, else text. What is only used in a lookup or as the version is
    /// not a column of the table.
    pub(super) fn of(&self, column: &str) -> Kind {
        let named = self.options.types.iter().find(|(name, _)| name == column).map(|(_, kind)| *kind);
        let defined = || self.definition.as_ref()?.get(column).copied().flatten().filter(|_| self.is_sent(column));
        named.or_else(defined).unwrap_or(Kind::Text)
    }

    /// Whether the definition has to tell the kind of one of these columns, or of a constant.
    pub(super) fn needs_definition(&self, header: &[String]) -> bool {
        let is_named = |column: &str| self.options.types.iter().any(|(name, _)| name == column);
        let constants = self.options.set.iter().map(|(name, _)| name);
        header
            .iter()
            .chain(constants)
            .any(|column| !is_named(column) && self.is_sent(column) && !column.ends_with(BIND))
    }

    /// Whether it is in the record under its own name.
    fn is_sent(&self, column: &str) -> bool {
        let options = self.options;
        let is_used = options.version.as_deref() == Some(column)
            || options.lookup.iter().flat_map(Lookup::columns).any(|name| name == column);
        options.key.iter().any(|name| name == column) || !is_used
    }

    /// Checks the header of a file.
    ///
    /// # Errors
    /// What does not fit, and what to do instead.
    pub(super) fn check(&self, header: &[String]) -> Result<(), String> {
        let options = self.options;
        let has = |column: &str| header.iter().any(|name| name == column);
        if let Some((column, _)) = options.set.iter().find(|(column, _)| has(column)) {
            return Err(format!("--set {column}: the file has a column of that name"));
        }
        let is_constant = |column: &str| options.set.iter().any(|(name, _)| name == column);
        let used = (options.key.iter().map(|column| ("--key", column.as_str())))
            .chain(options.version.iter().map(|column| ("--version", column.as_str())))
            .chain(options.lookup.iter().flat_map(Lookup::columns).map(|column| ("--lookup", column)))
            .chain(options.types.iter().map(|(column, _)| ("--types", column.as_str())));
        for (option, column) in used {
            if !has(column) && !is_constant(column) {
                let is_one = if header.len() == 1 { "; is --delimiter right?" } else { "" };
                return Err(format!("{option}: the file has no column {column}; it has {}{is_one}", header.join(", ")));
            }
        }
        if let (Some(column), Some(columns)) = (&options.version_column, &self.definition)
            && !columns.contains_key(column)
        {
            return Err(format!("--version-column: the table has no column {column}"));
        }
        let constants = options.set.iter().map(|(column, _)| column);
        let mut sent = header.iter().chain(constants).filter(|name| self.is_sent(name) && self.of(name) != Kind::Skip);
        sent.find_map(|column| self.problem(column)).map_or(Ok(()), Err)
    }

    /// Why a column of `--set` cannot be in a record.
    fn problem_of_constant(&self, column: &str) -> Option<String> {
        match self.definition.as_ref().filter(|_| !column.ends_with(BIND))?.get(column) {
            None => Some(format!("--set {column}: the table has no such column")),
            Some(None) => Some(format!("--set {column}: it is a lookup; write --set 'nav@odata.bind=/set(key=value)'")),
            Some(Some(_)) => None,
        }
    }

    /// Why a column cannot be in a record.
    fn problem(&self, column: &str) -> Option<String> {
        if self.options.set.iter().any(|(name, _)| name == column) {
            return self.problem_of_constant(column);
        }
        let leave_out = format!("--types '{column}=skip' leaves it out");
        if !is_logical_name(column.strip_suffix(BIND).unwrap_or(column)) {
            return Some(format!("{column} is not the logical name of a column; rename it, or {leave_out}"));
        }
        let definition = self.definition.as_ref().filter(|_| !column.ends_with(BIND))?;
        let bare = column.strip_prefix('_').and_then(|name| name.strip_suffix("_value")).unwrap_or(column);
        match definition.get(bare) {
            None => Some(format!(
                "the table has no column {column}; rename it, use it in --lookup or --version, or {leave_out}"
            )),
            Some(None) if !self.options.key.iter().any(|name| name == column) => {
                let example = "'nav=/set(key={column})'";
                Some(format!("{column} is a lookup, which --lookup {example} sets; or {leave_out}"))
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::arguments::tests::options;

    fn definition() -> Columns {
        let columns = [
            ("employeeid", Some(Kind::Text)),
            ("n", Some(Kind::Integer)),
            ("new_v", Some(Kind::Integer)),
            ("parentcustomerid", None),
            ("amount", Some(Kind::Decimal)),
        ];
        columns.map(|(name, kind)| (name.to_owned(), kind)).into()
    }

    fn header(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_kind_is_named_or_defined_or_text() {
        let options =
            options(&["--key", "n", "--types", "amount=text", "--version", "new_v", "--lookup", "a=/b(c={n},d={m})"]);
        let kinds = Kinds { options: &options, definition: Some(definition()) };
        for (column, kind) in [
            ("amount", Kind::Text),
            ("n", Kind::Integer),
            ("new_v", Kind::Text),
            ("m", Kind::Text),
            ("parentcustomerid", Kind::Text),
        ] {
            assert_eq!(kinds.of(column), kind, "{column}");
        }
        assert_eq!(Kinds { options: &options, definition: None }.of("n"), Kind::Text);
    }

    #[test]
    fn the_definition_is_only_read_where_a_kind_is_not_named() {
        for (line, needs) in [
            (&["--types", "a=text,b=skip"][..], false),
            (&["--types", "a=text"], true),
            (&["--types", "a=text", "--version", "b"], false),
            (&["--types", "a=text", "--lookup", "x=/y(z={b})"], false),
            (&["--types", "a=text", "--lookup", "x=/y(z={b})", "--key", "b"], true),
            (&["--types", "a=text,b=text", "--set", "c=1"], true),
            (&["--types", "a=text,b=text", "--set", "c@odata.bind=/d(1)"], false),
        ] {
            let options = options(line);
            let kinds = Kinds { options: &options, definition: None };
            assert_eq!(kinds.needs_definition(&header(&["a", "b"])), needs, "{line:?}");
        }
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused_with_the_column_and_the_next_step() {
        for (line, names, word) in [
            (&["--key", "employeeid"][..], &["a", "b"][..], "--key: the file has no column employeeid; it has a, b"),
            (&["--version", "v"], &["n"], "--version: the file has no column v"),
            (&["--lookup", "x=/y(z={m})"], &["n"], "--lookup: the file has no column m"),
            (&["--types", "m=skip"], &["n"], "--types: the file has no column m"),
            (&["--set", "n=1"], &["n"], "--set n: the file has a column"),
            (&[], &["Last Name"], "--types 'Last Name=skip' leaves it out"),
            (&[], &["nn"], "the table has no column nn"),
            (&["--set", "nn=1"], &["n"], "--set nn: the table has no such column"),
            (&["--set", "parentcustomerid=1"], &["n"], "--set parentcustomerid: it is a lookup"),
            (&["--key", "b"], &["a|b"], "it has a|b; is --delimiter right?"),
            (&["--version-column", "new_w"], &["n"], "--version-column: the table has no column new_w"),
            (&[], &["parentcustomerid"], "is a lookup, which --lookup"),
            (&[], &["_parentcustomerid_value"], "is a lookup, which --lookup"),
        ] {
            let options = options(line);
            let problem = Kinds { options: &options, definition: Some(definition()) }.check(&header(names));
            assert!(problem.as_ref().is_err_and(|problem| problem.contains(word)), "{line:?}: {problem:?}");
        }
        for (line, names) in [
            (&["--key", "n,employeeid", "--set", "employeeid=x"][..], &["n", "amount"][..]),
            (&["--types", "Last Name=skip"], &["n", "Last Name"]),
            (&["--lookup", "x=/y(z={Manager Id})"], &["n", "Manager Id"]),
            (&["--key", "_parentcustomerid_value"], &["_parentcustomerid_value"]),
            (&[], &["ownerid@odata.bind"]),
        ] {
            let options = options(line);
            let checked = Kinds { options: &options, definition: Some(definition()) }.check(&header(names));
            assert_eq!(checked, Ok(()), "{line:?}");
        }
        let options = options(&[]);
        assert_eq!(
            Kinds { options: &options, definition: None }.check(&header(&["nn"])),
            Ok(()),
            "no definition, no refusal"
        );
    }
}
