//! Reads the files that the settings and the app name; only this module opens them.
//!
//! A FIFO would block the reader and a device may have no end, so only a regular file is read, and never more of it than its kind
//! has. Symlinks are followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// The most bytes of a file of settings, a certificate or a token.
pub(crate) const MAX_SMALL_FILE: u64 = 1024 * 1024;

/// Reads a regular file of at most `max` bytes.
///
/// # Errors
/// Where it is something else or larger, too; the text holds nothing of the file.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // Opening a device may have an effect of its own.
    require_regular(&fs::metadata(path)?)?;
    let file = open(path)?;
    require_regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= max) {
        return Ok(bytes);
    }
    Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {} KiB", max / 1024)))
}

/// Reads a regular file of UTF-8 text, of at most [`MAX_SMALL_FILE`] bytes.
///
/// # Errors
/// Like [`read`], and where it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read(path, MAX_SMALL_FILE)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn require_regular(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// Never waits for a writer: a FIFO may take the file's place in between.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(windows)]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// Why others than this process's user and root may write the file at `path`, as a clause that follows a setting's name; `None` if
/// they may not, or if that is not known. A symlink is judged by its target.
#[cfg(unix)]
pub(crate) fn writable_by_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    writers(metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw())
}

/// Windows has no such mode; its access lists are not read.
#[cfg(windows)]
pub(crate) fn writable_by_others(_: &Path) -> Option<String> {
    None
}

#[cfg(unix)]
fn writers(mode: u32, owner: u32, user: u32) -> Option<String> {
    const ROOT: u32 = 0;
    if mode & 0o002 != 0 {
        return Some("names a file that every user may write".to_owned());
    }
    if mode & 0o020 != 0 {
        return Some("names a file that its group may write".to_owned());
    }
    (owner != user && owner != ROOT).then(|| format!("names a file of another user (uid {owner})"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_a_regular_file_within_its_bound_is_read() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let (file, link, fifo) = (folder.path().join("file"), folder.path().join("link"), folder.path().join("fifo"));
        fs::write(&file, "12345").expect("writable");
        symlink(&file, &link).expect("writable");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("writable");
        assert_eq!(read(&link, 5).expect("a file"), b"12345");
        for (path, kind) in [
            (&*file, io::ErrorKind::FileTooLarge),
            (&fifo, io::ErrorKind::InvalidInput),
            (folder.path(), io::ErrorKind::InvalidInput),
            ("/dev/zero".as_ref(), io::ErrorKind::InvalidInput),
            ("/nowhere".as_ref(), io::ErrorKind::NotFound),
        ] {
            let (path, (sender, answer)) = (path.to_owned(), mpsc::channel());
            let name = path.display().to_string();
            thread::spawn(move || sender.send(read(&path, 4).map_err(|error| error.kind())));
            let answer = answer.recv_timeout(Duration::from_secs(10)).expect("it does not hang");
            assert_eq!(answer, Err(kind), "{name}");
        }
        // What takes the place of a checked file cannot block either.
        assert!(require_regular(&open(&fifo).expect("it does not wait").metadata().expect("open")).is_err());
    }

    #[test]
    fn a_file_is_its_owners_alone_if_neither_group_nor_others_may_write_it() {
        for (mode, owner, user, word) in [
            (0o100_600, 1000, 1000, None),
            (0o100_644, 0, 1000, None),
            (0o100_640, 1000, 1000, None),
            (0o100_660, 1000, 1000, Some("its group")),
            (0o100_622, 1000, 1000, Some("every user")),
            (0o100_600, 1001, 1000, Some("uid 1001")),
            (0o100_600, 1000, 0, Some("uid 1000")),
        ] {
            let found = writers(mode, owner, user);
            assert_eq!(found.is_some(), word.is_some(), "{mode:o} {owner} {user}: {found:?}");
            assert!(found.is_none_or(|found| found.contains(word.unwrap_or_default())));
        }
    }

    #[test]
    fn a_symlink_is_judged_by_its_target() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").expect("writable");
        symlink(&file, &link).expect("writable");
        for (mode, is_exposed) in [(0o600, false), (0o620, true)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("ours");
            assert_eq!(writable_by_others(&link).is_some(), is_exposed, "{mode:o}");
        }
    }
}
