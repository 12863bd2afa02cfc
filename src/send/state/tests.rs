use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::json;
use uuid::Uuid;

use super::*;

const HALF: u64 = 2;

/// A file in a folder that is deleted at the end.
struct Input(PathBuf);

impl Input {
    fn new(text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("send-{}", Uuid::new_v4()));
        fs::create_dir(&folder).expect("the temporary folder is writable");
        let path = folder.join("a.csv");
        fs::write(&path, text).expect("writable");
        Self(path)
    }

    fn folder(&self) -> &Path {
        self.0.parent().expect("it is in a folder")
    }

    /// The names in its folder.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).expect("readable");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    fn open(&self, options: &Value) -> Result<State, String> {
        let options = options.as_object().expect("options").clone();
        State::open(&self.0, options).map_err(|error| error.to_string())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.folder());
    }
}

#[test]
fn a_state_lasts_until_everything_is_put() {
    let (input, options) = (Input::new("a\n1\n"), json!({ "table": "contacts" }));
    let mut state = input.open(&options).expect("a new one");
    assert_eq!((state.put(), input.names()), (0, vec!["a.csv".to_owned()]), "nothing is written");
    state.save(1).expect("writable");
    state.save(HALF).expect("writable");
    assert_eq!(input.names(), ["a.csv", "a.csv.send-state"], "no other file stays");
    let state = input.open(&options).expect("it is read");
    assert_eq!(state.put(), HALF);
    state.delete().expect("it is there");
    assert_eq!(input.names(), ["a.csv"]);
    assert_eq!(input.open(&options).expect("a new one").put(), 0);
}

#[cfg(unix)]
#[test]
fn only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let input = Input::new("a\n1\n");
    input.open(&json!({})).expect("a new one").save(HALF).expect("writable");
    let mode = fs::metadata(beside(&input.0)).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn another_content_or_another_option_is_noticed() {
    let (input, options) = (Input::new("a\n1\n"), json!({ "table": "contacts", "source": null }));
    input.open(&options).expect("a new one").save(HALF).expect("writable");
    for (other, word) in [
        (json!({ "table": "accounts", "source": null }), "another --table"),
        (json!({ "table": "contacts", "source": "hr" }), "another --source"),
        (json!({ "table": "contacts", "source": null, "set": [] }), "another --set"),
    ] {
        let problem = input.open(&other).expect_err(word);
        assert!(
            problem.contains(word) && problem.contains("a.csv.send-state") && problem.contains("delete this file"),
            "{problem}"
        );
    }
    let modified = fs::metadata(&input.0).and_then(|metadata| metadata.modified()).expect("readable");
    let change = |text: &str, modified: SystemTime| {
        fs::write(&input.0, text).expect("writable");
        File::options().write(true).open(&input.0).and_then(|file| file.set_modified(modified)).expect("ours");
        input.open(&options).map(|state| state.put())
    };
    for (text, modified) in
        [("a\n1\n2\n", modified), ("a\n2\n", modified), ("a\n1\n", modified + Duration::from_millis(1))]
    {
        let problem = change(text, modified).expect_err(text);
        assert!(problem.contains("another content or time of the input"), "{problem}");
    }
    assert_eq!(change("a\n1\n", modified), Ok(HALF), "it is the same file again");
}

#[test]
fn what_is_not_a_state_is_not_overwritten() {
    let input = Input::new("a\n1\n");
    fs::write(beside(&input.0), "notes").expect("writable");
    let problem = input.open(&json!({})).expect_err("not a state");
    assert!(problem.contains("another version of this program"), "{problem}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let input = Input::new("a\n1\n");
    fs::create_dir(with_ending(&beside(&input.0), ".new")).expect("writable");
    let error = input.open(&json!({})).expect("a new one").save(HALF).expect_err("it is a folder").to_string();
    assert!(
        error.contains("a.csv.send-state cannot be written") && error.contains("a folder that you may write"),
        "{error}"
    );
}
