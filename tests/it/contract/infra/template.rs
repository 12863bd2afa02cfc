//! As much of Bicep as the infrastructure's test needs: declarations with their decorators, the fields of an object, and
//! which names an expression uses. It knows no types and evaluates nothing; that is the compiler's work.
//!
//! <https://learn.microsoft.com/azure/azure-resource-manager/bicep/file>

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// What begins a declaration at the start of a line.
const KINDS: [&str; 10] =
    ["func", "import", "metadata", "module", "output", "param", "resource", "targetScope", "type", "var"];

const WORDS_OF_THE_LANGUAGE: [&str; 6] = ["false", "for", "if", "in", "null", "true"];

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or a number.
    Word(String),
    /// A string as it is written, and the tokens of its interpolations.
    Text(String, Vec<Token>),
    Sign(char),
    Line,
}

use Token::{Line, Sign, Text, Word};

/// `@decorators kind name header = value`.
#[derive(Debug, Default)]
pub(super) struct Declaration {
    pub(super) decorators: Vec<Token>,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) header: Vec<Token>,
    pub(super) value: Vec<Token>,
}

/// The declarations of a file, in order.
pub(super) fn parse(source: &str) -> Vec<Declaration> {
    let tokens = tokens(&mut source.chars().peekable(), None);
    let (mut found, mut decorators, mut start) = (Vec::new(), Vec::new(), 0);
    for end in ends(&tokens) {
        let statement = tokens[start..end].iter().skip_while(|token| **token == Line).cloned().collect::<Vec<_>>();
        start = end;
        match &statement[..] {
            [Sign('@'), ..] => decorators.extend(statement),
            [Word(kind), rest @ ..] => found.push(declaration(kind, rest, std::mem::take(&mut decorators))),
            _ => (),
        }
    }
    found
}

fn declaration(kind: &str, rest: &[Token], decorators: Vec<Token>) -> Declaration {
    let (name, rest) = match rest {
        [Word(name), rest @ ..] => (name.clone(), rest),
        _ => (String::new(), rest),
    };
    let at = rest.iter().position(|token| *token == Sign('=')).unwrap_or(rest.len());
    let value = rest[at..].iter().skip_while(|token| [Sign('='), Sign('>')].contains(token)).cloned().collect();
    Declaration { decorators, kind: kind.to_owned(), name, header: rest[..at].to_vec(), value }
}

/// Where the statements end: before a line that begins with a decorator or a declaration.
fn ends(tokens: &[Token]) -> Vec<usize> {
    let (mut depth, mut ends) = (0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        depth += depth_of(token);
        let begins = match tokens.get(at + 1) {
            Some(Word(word)) => KINDS.contains(&word.as_str()),
            Some(Sign('@')) | None => true,
            _ => false,
        };
        if (depth == 0 && *token == Line && begins) || at + 1 == tokens.len() {
            ends.push(at + 1);
        }
    }
    ends
}

fn depth_of(token: &Token) -> i32 {
    match token {
        Sign('{' | '[' | '(') => 1,
        Sign('}' | ']' | ')') => -1,
        _ => 0,
    }
}

/// The tokens up to the bracket that closes an interpolation, or to the end.
fn tokens(chars: &mut Peekable<Chars>, until: Option<char>) -> Vec<Token> {
    let (mut found, mut depth) = (Vec::new(), 0);
    while let Some(char) = chars.next() {
        match char {
            '\n' => found.push(Line),
            '\'' => found.push(string(chars)),
            '/' if chars.peek() == Some(&'/') => while chars.next_if(|char| *char != '\n').is_some() {},
            '.' => {
                // Safe access, `.?`, is access.
                chars.next_if_eq(&'?');
                found.push(Sign('.'));
            }
            _ if char.is_alphanumeric() || char == '_' => {
                let mut word = char.to_string();
                while let Some(char) = chars.next_if(|char| char.is_alphanumeric() || *char == '_') {
                    word.push(char);
                }
                found.push(Word(word));
            }
            _ if char.is_whitespace() => (),
            _ if until == Some(char) && depth == 0 => break,
            _ => {
                found.push(Sign(char));
                depth += depth_of(&Sign(char));
            }
        }
    }
    found
}

/// A string whose first quote was read.
fn string(chars: &mut Peekable<Chars>) -> Token {
    let (mut text, mut inner) = (String::new(), Vec::new());
    while let Some(char) = chars.next() {
        match char {
            // Three quotes begin a string without escapes and interpolations.
            '\'' if text.is_empty() && inner.is_empty() && chars.next_if_eq(&'\'').is_some() => {
                while !text.ends_with("'''")
                    && let Some(char) = chars.next()
                {
                    text.push(char);
                }
                text.truncate(text.trim_end_matches('\'').len());
                break;
            }
            '\'' => break,
            '\\' => text.extend(chars.next()),
            '$' if chars.next_if_eq(&'{').is_some() => {
                let expression = tokens(chars, Some('}'));
                for part in ["${", &rendered(&expression), "}"] {
                    text.push_str(part);
                }
                inner.extend(expression);
            }
            _ => text.push(char),
        }
    }
    Text(text, inner)
}

/// The tokens on one line, in one notation.
pub(super) fn rendered(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        match token {
            Word(word) => {
                if text.ends_with(char::is_alphanumeric) {
                    text.push(' ');
                }
                text.push_str(word);
            }
            Text(string, _) => text.extend(["'", string, "'"]),
            Sign(sign) => text.push(*sign),
            Line => (),
        }
    }
    text
}

/// The fields of the first object in these tokens and of the objects in it, each as its path and its value.
pub(super) fn fields(tokens: &[Token]) -> Vec<(String, String)> {
    let Some(start) = tokens.iter().position(|token| *token == Sign('{')) else { return Vec::new() };
    let (mut found, mut rest) = (Vec::new(), &tokens[start + 1..]);
    loop {
        match rest {
            [Line | Sign(','), after @ ..] => rest = after,
            [Word(key) | Text(key, _), Sign(':'), after @ ..] => {
                let end = end_of_value(after);
                found.push((key.clone(), rendered(&after[..end])));
                if after.first() == Some(&Sign('{')) {
                    let nested = fields(&after[..end]).into_iter();
                    found.extend(nested.map(|(path, value)| (format!("{key}.{path}"), value)));
                }
                rest = &after[end..];
            }
            _ => return found,
        }
    }
}

fn end_of_value(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        let goes_on = matches!(tokens.get(at + 1), Some(Sign('?' | ':')));
        if depth == 0 && (matches!(token, Sign(',' | '}')) || (*token == Line && !goes_on)) {
            return at;
        }
        depth += depth_of(token);
    }
    tokens.len()
}

/// The names that an expression uses, without properties, keys, functions of the language, and its own loop variables.
pub(super) fn names(tokens: &[Token]) -> BTreeSet<String> {
    let (mut used, mut own) = (BTreeSet::new(), BTreeSet::new());
    collect(tokens, &mut used, &mut own);
    used.retain(|name| !own.contains(name) && !WORDS_OF_THE_LANGUAGE.contains(&name.as_str()));
    used
}

fn collect(tokens: &[Token], used: &mut BTreeSet<String>, own: &mut BTreeSet<String>) {
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &tokens[before]);
        let (next, after) = (tokens.get(at + 1), tokens.get(at + 2));
        match token {
            Text(_, inner) => collect(inner, used, own),
            Word(word)
                if before == Some(&Word("for".to_owned())) || (next, after) == (Some(&Sign('=')), Some(&Sign('>'))) =>
            {
                own.insert(word.clone());
            }
            Word(_) if before == Some(&Sign('.')) => (),
            Word(_) if next == Some(&Sign(':')) && matches!(before, None | Some(Line | Sign('{' | ','))) => (),
            Word(word) if !word.starts_with(|char: char| char.is_ascii_digit()) => {
                let call = if next == Some(&Sign('(')) { "()" } else { "" };
                used.insert(format!("{word}{call}"));
            }
            Word(_) | Sign(_) | Line => (),
        }
    }
}

impl Declaration {
    /// The argument of a decorator, rendered.
    pub(super) fn decorator(&self, name: &str) -> Option<String> {
        let mut at = self.decorators.windows(2).position(|pair| pair == [Sign('@'), Word(name.to_owned())])? + 3;
        let (start, mut depth) = (at, 1);
        while depth > 0 {
            depth += depth_of(self.decorators.get(at)?);
            at += 1;
        }
        Some(rendered(&self.decorators[start..at - 1]))
    }

    /// The string behind the name: a resource's type and version, a module's or an import's file.
    pub(super) fn target(&self) -> Option<&str> {
        self.header.iter().rev().find_map(|token| if let Text(text, _) = token { Some(text.as_str()) } else { None })
    }

    /// Whether it is a reference to a resource that is there.
    pub(super) fn is_existing(&self) -> bool {
        self.header.contains(&Word("existing".to_owned()))
    }

    /// The names that it makes known in its file.
    pub(super) fn declared(&self) -> Vec<String> {
        if self.kind != "import" {
            return vec![self.name.clone()];
        }
        let names =
            self.header.iter().filter_map(|token| if let Word(word) = token { Some(word.clone()) } else { None });
        names.filter(|name| name != "from").collect()
    }

    /// A field's value, rendered.
    pub(super) fn field(&self, path: &str) -> Option<String> {
        fields(&self.value).into_iter().find_map(|(found, value)| (found == path).then_some(value))
    }
}
