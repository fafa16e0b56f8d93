//! How a fetch is shown: one line that is written over on a terminal, a line for each thing worth knowing elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use selfsame_host::images::Progress;

use crate::cli::Global;
use crate::output::{Format, note};

/// So often is the line written over.
const EVERY: Duration = Duration::from_millis(200);

/// What shows a fetch.
#[derive(Debug)]
pub(in crate::cli) struct ProgressLine {
    live: bool,
    silent: bool,
    total: Option<u64>,
    began: Option<(Instant, u64)>,
    shown: Option<Instant>,
}

impl ProgressLine {
    pub(in crate::cli) fn new(global: &Global) -> Self {
        let people = global.format == Format::Text && !global.quiet;
        Self {
            live: people && std::io::stderr().is_terminal(),
            silent: !people,
            total: None,
            began: None,
            shown: None,
        }
    }

    pub(in crate::cli) fn show(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Waiting => self.say("another command fetches it: waiting for that"),
            Progress::Began { at, total } => {
                (self.total, self.began) = (*total, Some((Instant::now(), *at)));
                let size = total.map_or_else(|| "unknown size".to_owned(), mebibytes);
                match at {
                    0 => self.say(&format!("fetching the image, {size}")),
                    at => self.say(&format!(
                        "fetching the rest of the image, from {} of {size} on",
                        mebibytes(*at)
                    )),
                }
            }
            Progress::At { at } => self.at(*at),
            Progress::Again { error } => self.say(&format!("{error}; trying again")),
            Progress::Checking => self.say("checking the image"),
        }
    }

    /// Gives the line of a terminal back.
    pub(in crate::cli) fn end(&mut self) {
        self.clear();
    }

    fn say(&mut self, text: &str) {
        self.clear();
        if !self.silent {
            note(&format!("note: {text}"));
        }
    }

    fn at(&mut self, at: u64) {
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= EVERY);
        if !self.live || !due {
            return;
        }
        self.shown = Some(Instant::now());
        let share = self.total.filter(|total| *total > 0).map(|total| at.saturating_mul(100) / total);
        let share = share.map_or_else(String::new, |share| format!(" {share:>3} %"));
        let rate = self.began.map_or_else(String::new, |(began, from)| {
            let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = at.saturating_sub(from).saturating_mul(1000) / elapsed;
            format!(", {}/s", mebibytes(rate))
        });
        let mut err = std::io::stderr().lock();
        // Nobody is left to tell.
        drop(write!(err, "\r\x1b[K{share}  {}{rate}", mebibytes(at)).and_then(|()| err.flush()));
    }

    fn clear(&mut self) {
        if self.live && self.shown.take().is_some() {
            let mut err = std::io::stderr().lock();
            drop(write!(err, "\r\x1b[K").and_then(|()| err.flush()));
        }
    }
}

/// With one digit behind the point.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(mebibytes(0), "0.0 MiB");
        assert_eq!(mebibytes((3 << 20) + (1 << 19)), "3.5 MiB");
        assert!(mebibytes(u64::MAX).ends_with(" MiB"));
    }
}
