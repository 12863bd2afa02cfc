//! The terminal's alternate screen, redrawn without flicker: each frame is one write, goes over the last one, and clears only what
//! is left of it. Terminals that know synchronized output show it at once.
//!
//! <https://invisible-island.net/xterm/ctlseqs/ctlseqs.html>, <https://contour-terminal.org/vt-extensions/synchronized-output/>

use std::io;

use console::truncate_str;

use crate::terminal::print;

/// The alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?2026l\x1b[?25h\x1b[?1049l";

const BEGIN_FRAME: &str = "\x1b[?2026h\x1b[H";
const END_FRAME: &str = "\x1b[J\x1b[?2026l";
const END_LINE: &str = "\x1b[K\r\n";

/// The alternate screen; dropping it restores the terminal as it was.
pub(super) struct Screen(());

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        let screen = Self(());
        print(ENTER)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = print(LEAVE);
    }
}

/// Shows on the alternate screen what fits into so many rows and columns: all of `end` rather than all of `lines`.
pub(super) fn draw(lines: &[String], end: &[String], size: (usize, usize)) -> io::Result<()> {
    print(&frame(lines, end, size))
}

/// A line never fills the width, after which some terminals would break it.
fn frame(lines: &[String], end: &[String], (rows, columns): (usize, usize)) -> String {
    let room = rows.saturating_sub(end.len());
    let shown =
        lines.iter().take(room).chain(end).take(rows).map(|line| truncate_str(line, columns.saturating_sub(1), "…"));
    format!("{BEGIN_FRAME}{}\x1b[K{END_FRAME}", shown.collect::<Vec<_>>().join(END_LINE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_over_the_last_one_and_fits_the_screen() {
        let (lines, end) = (["one", "two", "three"].map(str::to_owned), ["the verdict".to_owned()]);
        let expected = "\x1b[?2026h\x1b[Hone\x1b[K\r\nthe ve…\x1b[K\x1b[J\x1b[?2026l";
        assert_eq!(frame(&lines, &end, (2, 8)), expected);
        assert!(frame(&lines, &end, (24, 80)).contains("three\x1b[K\r\nthe verdict"));
        assert!(frame(&lines, &end, (1, 80)).contains("the verdict"), "the last to go");
    }
}
