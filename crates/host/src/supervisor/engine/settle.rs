//! Waiting for what becomes of a start that is told by events.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use selfsame_machine::backend::Backend;
use selfsame_machine::lifecycle::{BackendEvent, Order};
use selfsame_machine::problem::Report;

/// What became of a start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The guest is up, standing still or not.
    Up {
        /// Whether it stands still.
        paused: bool,
        /// What happened to it since, after what it told on the way that people should know of.
        since: Vec<BackendEvent>,
    },
    /// It did not come up, and nothing is left of it.
    Failed(Box<Report>),
    /// It ended before it was up.
    Gone,
    /// Nothing was heard of it in time; it was ended.
    Silent,
}

/// Orders a start, anew or from a state, and waits for its outcome, at most for `limit`; then for its end, at most twice for
/// `grace`: whoever is told that it failed gives back what keeps twins away.
pub(super) fn start<B: Backend>(
    guest: &mut B,
    order: Order,
    limit: Duration,
    grace: Duration,
) -> Result<Settled, B::Error> {
    guest.order(order)?;
    let began = Instant::now();
    let mut told = Vec::new();
    loop {
        let mut events = guest.take_events().into_iter();
        while let Some(event) = events.next() {
            match event {
                BackendEvent::Ready { paused } => {
                    told.extend(events);
                    return Ok(Settled::Up { paused, since: told });
                }
                BackendEvent::StartFailed(report) => return Ok(Settled::Failed(report)),
                BackendEvent::Exited(_) => return Ok(Settled::Gone),
                // A guest that goes on from a state may have its agent listening already.
                later @ (BackendEvent::Incident(_) | BackendEvent::Agent { .. }) => told.push(later),
                BackendEvent::Paused
                | BackendEvent::Resumed
                | BackendEvent::Reset
                | BackendEvent::ShutDown(_)
                | BackendEvent::Panicked
                | BackendEvent::AgentHeard
                | BackendEvent::AgentRefused
                | BackendEvent::Saved
                | BackendEvent::SaveFailed(_)
                | BackendEvent::InternalError
                | BackendEvent::MonitorLost => {}
            }
        }
        if !sleep(guest, began, limit) {
            end(guest, grace)?;
            return Ok(Settled::Silent);
        }
    }
}

/// Told once, it is switched off as soon as it can be; told again, it is let go of.
fn end<B: Backend>(guest: &mut B, grace: Duration) -> Result<(), B::Error> {
    for _ in 0..2 {
        guest.order(Order::Kill)?;
        let began = Instant::now();
        loop {
            let is_end = |event| matches!(event, BackendEvent::Exited(_) | BackendEvent::StartFailed(_));
            if guest.take_events().into_iter().any(is_end) {
                return Ok(());
            }
            if !sleep(guest, began, grace) {
                break;
            }
        }
    }
    Ok(())
}

/// Lets a guest go on that stands still. Says whether it does within `limit`, and what else happened.
pub(in crate::supervisor) fn go_on<B: Backend>(
    guest: &mut B,
    limit: Duration,
) -> Result<(bool, Vec<BackendEvent>), B::Error> {
    guest.order(Order::Resume)?;
    let began = Instant::now();
    let mut others = Vec::new();
    loop {
        let events = guest.take_events();
        let goes_on = events.contains(&BackendEvent::Resumed);
        let is_over = events.iter().any(|event| matches!(event, BackendEvent::Exited(_)));
        others.extend(events.into_iter().filter(|event| *event != BackendEvent::Resumed));
        if goes_on || is_over || !sleep(guest, began, limit) {
            return Ok((goes_on, others));
        }
    }
}

/// Sleeps until something has happened, at most until `limit` after `began`; `false` when that is over.
fn sleep<B: Backend>(guest: &B, began: Instant, limit: Duration) -> bool {
    let left = limit.checked_sub(began.elapsed()).and_then(|left| Timespec::try_from(left).ok());
    let Some(left) = left else { return false };
    let descriptors = guest.descriptors();
    let mut waiting: Vec<PollFd<'_>> =
        descriptors.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
    // An interruption is a look at everything.
    let _looked = poll(&mut waiting, Some(&left));
    true
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::{AsFd as _, BorrowedFd};
    use std::os::unix::net::UnixStream;

    use selfsame_machine::code::Code;
    use selfsame_machine::lifecycle::{ExitStatus, Incident, IncidentKind};

    use super::*;
    use crate::home::HomeError;

    /// A back end that tells one event after the other, each after one wake.
    struct Played {
        script: Vec<Vec<BackendEvent>>,
        orders: Vec<Order>,
        wake: UnixStream,
        _awake: UnixStream,
    }

    impl Played {
        fn new(script: impl IntoIterator<Item = Vec<BackendEvent>>) -> Self {
            let (wake, mut awake) = UnixStream::pair().unwrap();
            let script: Vec<_> = script.into_iter().collect();
            if !script.is_empty() {
                awake.write_all(b"x").unwrap();
            }
            Self { script, orders: Vec::new(), wake, _awake: awake }
        }
    }

    impl Backend for Played {
        type Error = HomeError;

        fn order(&mut self, order: Order) -> Result<(), HomeError> {
            self.orders.push(order);
            Ok(())
        }

        fn take_events(&mut self) -> Vec<BackendEvent> {
            if self.script.is_empty() { Vec::new() } else { self.script.remove(0) }
        }

        fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
            vec![self.wake.as_fd()]
        }
    }

    fn settle(script: impl IntoIterator<Item = Vec<BackendEvent>>) -> (Settled, Vec<Order>) {
        let mut played = Played::new(script);
        let (order, time) = (Order::Start { paused: true }, Duration::from_millis(50));
        let settled = start(&mut played, order, time, time).unwrap();
        (settled, played.orders)
    }

    #[test]
    fn incidents_and_what_follows_the_news_that_it_is_up_are_kept_for_the_driver() {
        let lost = BackendEvent::Incident(Incident { kind: IncidentKind::Network, what: "gone".into() });
        let refused = Incident { kind: IncidentKind::Order, what: "it could not be paused".into() };
        let refused = BackendEvent::Incident(refused);
        let up = BackendEvent::Ready { paused: false };
        let (settled, orders) = settle([vec![refused.clone()], vec![BackendEvent::Reset, up, lost.clone()]]);
        assert_eq!(settled, Settled::Up { paused: false, since: vec![refused, lost] });
        assert_eq!(orders, [Order::Start { paused: true }]);
    }

    #[test]
    fn a_failure_and_an_end_are_told_apart() {
        let report = Report { code: Code::QuotaFull, message: "full".into(), causes: vec![], hints: vec![] };
        let failed = BackendEvent::StartFailed(Box::new(report.clone()));
        assert_eq!(settle([vec![failed]]).0, Settled::Failed(Box::new(report)));
        assert_eq!(settle([vec![], vec![BackendEvent::Exited(ExitStatus::Failed)]]).0, Settled::Gone);
    }

    #[test]
    fn a_guest_that_ends_instead_of_going_on_has_not_gone_on() {
        let go = |script: Vec<Vec<BackendEvent>>| {
            let mut played = Played::new(script);
            go_on(&mut played, Duration::from_millis(50)).unwrap()
        };
        assert_eq!(go(vec![vec![], vec![BackendEvent::Resumed]]), (true, vec![]));
        let exited = BackendEvent::Exited(ExitStatus::Signal(9));
        assert_eq!(go(vec![vec![exited.clone()]]), (false, vec![exited]));
        assert_eq!(go(vec![]), (false, vec![]));
    }

    #[test]
    fn a_start_of_which_nothing_is_heard_is_ended() {
        let (settled, orders) = settle([]);
        assert_eq!(settled, Settled::Silent);
        assert_eq!(orders, [Order::Start { paused: true }, Order::Kill, Order::Kill]);
    }
}
