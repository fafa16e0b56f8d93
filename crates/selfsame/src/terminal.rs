//! The terminal of whoever calls: its keys handed on one by one, and given back as it was, whatever happens.
//!
//! **Invariant.** What was changed is kept in one place, and put back when [`Raw`] is dropped, or, where nothing is dropped
//! any more, by the hook of a panic. Signals that end a program are for its caller to hear; it then drops.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, Once};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The settings to put back.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal hands on every key as it is pressed, until this is dropped.
#[derive(Debug)]
pub(crate) struct Raw(());

/// Whether keys come from a terminal.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal()
}

impl Raw {
    /// Takes the terminal on standard input.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        let settings = tcgetattr(io::stdin())?;
        let mut raw = settings.clone();
        raw.make_raw();
        if let Ok(mut kept) = BEFORE.lock() {
            *kept = Some(settings);
        }
        let raw_mode = Self(());
        // What was typed ahead was meant for the guest, too.
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(raw_mode)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // A panic while the lock is held would be one in here.
    if let Ok(mut kept) = BEFORE.try_lock()
        && let Some(settings) = kept.take()
    {
        // A terminal that is gone has nothing to be put back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &settings);
    }
}
