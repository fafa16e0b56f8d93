//! Running a command in the guest.
//!
//! The agent tells of no end by itself, so it is asked again and again, with pauses that grow. A short command is begun and
//! ends in one exchange; for a longer one each look is an exchange of its own, so that others have their turn in between.

use std::time::{Duration, Instant};

use selfsame_machine::agent::{Exec, ExecStatus, Executed, LINE_LIMIT, Misshapen, OUTPUT_LIMIT, Request};

use super::{AgentError, Door, Session};

/// The first pause between two looks, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));
/// How long the exchange of the beginning goes on.
const SHORT: Duration = Duration::from_millis(150);

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution {
    /// It ended.
    Ended(ExecStatus),
    /// Its time is up, and it goes on in the guest: the agent cannot end it.
    TimedOut {
        /// Its process in the guest, if it was begun.
        pid: Option<i64>,
    },
}

/// Runs a command and waits for its end, at most for `limit`.
///
/// # Errors
/// It was not begun; or it was, and the agent does not tell what becomes of it.
pub fn execute(door: &Door, exec: Exec, limit: Option<Duration>) -> Result<Execution, AgentError> {
    let began = Instant::now();
    let left = || limit.map(|limit| limit.saturating_sub(began.elapsed()));
    let is_over = || left().is_some_and(|left| left.is_zero());
    let misshapen = |source: Misshapen| AgentError::Misshapen { name: door.name.clone(), source };
    // Silence that lasts until the time is up is no failure of the agent's.
    let outcome = |pid: Option<i64>, error: AgentError| {
        let waited = matches!(error, AgentError::Silent { .. } | AgentError::Busy { .. });
        if waited && is_over() { Ok(Execution::TimedOut { pid }) } else { Err(error) }
    };
    let mut session = match Session::begin(door, left()) {
        Ok(session) => Some(session),
        Err(error) => return outcome(None, error),
    };
    let mut pid = None;
    let mut pause = PAUSES.0;
    let start = Request::Exec(exec);
    loop {
        let mut current = match session.take() {
            Some(session) => session,
            None => match Session::begin(door, left()) {
                Ok(session) => session,
                Err(error) => return outcome(pid, error),
            },
        };
        let asked = match pid {
            None => current.ask(&start, LINE_LIMIT),
            Some(pid) => current.ask(&Request::ExecStatus { pid }, OUTPUT_LIMIT),
        };
        let value = match asked {
            Ok(value) => value,
            Err(error) => return outcome(pid, error),
        };
        if pid.is_none() {
            pid = Some(Executed::read(&value).map_err(misshapen)?.pid);
        } else {
            match ExecStatus::read(&value).map_err(misshapen)? {
                ended @ ExecStatus::Ended { .. } => return Ok(Execution::Ended(ended)),
                ExecStatus::Running => {}
            }
        }
        if is_over() {
            return Ok(Execution::TimedOut { pid });
        }
        if began.elapsed() < SHORT {
            session = Some(current);
        } else {
            drop(current);
        }
        std::thread::sleep(left().map_or(pause, |left| pause.min(left)));
        pause = (pause * 2).min(PAUSES.1);
    }
}
