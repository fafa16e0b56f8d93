use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::Way;

use super::*;

fn sim(behaviour: &str) -> Sim {
    Sim::new(behaviour.parse().unwrap(), None).unwrap()
}

fn readable(sim: &Sim, limit: Duration) -> bool {
    let descriptors = sim.descriptors();
    let mut waiting: Vec<_> =
        descriptors.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    poll(&mut waiting, Some(&Timespec::try_from(limit).unwrap())).unwrap() > 0
}

fn after(sim: &mut Sim, order: Order) -> Vec<BackendEvent> {
    sim.order(order).unwrap();
    sim.take_events()
}

const UP: Order = Order::Start { paused: false };

#[test]
fn orders_are_carried_out_at_once_and_wake_the_driver() {
    let mut sim = sim("");
    assert!(!readable(&sim, Duration::ZERO));
    sim.order(UP).unwrap();
    assert!(readable(&sim, Duration::ZERO));
    assert_eq!(sim.take_events(), [BackendEvent::Ready { paused: false }]);
    assert_eq!(after(&mut sim, Order::Pause), [BackendEvent::Paused]);
    assert_eq!(after(&mut sim, Order::Pause), []);
    assert_eq!(after(&mut sim, Order::PowerDown(Way::Button)), [], "who stands still presses no button");
    assert_eq!(after(&mut sim, Order::Resume), [BackendEvent::Resumed]);
    let off = [BackendEvent::ShutDown(Shutdown::ByGuest), BackendEvent::Exited(ExitStatus::Unknown)];
    assert_eq!(after(&mut sim, Order::PowerDown(Way::Button)), off);
    assert!(!readable(&sim, Duration::ZERO), "beside one that is quiet nobody wakes");
}

#[test]
fn a_delay_takes_its_time_and_keeps_the_order() {
    let mut sim = sim("delay=40ms");
    let began = Instant::now();
    sim.order(UP).unwrap();
    sim.order(Order::Pause).unwrap();
    assert_eq!(sim.take_events(), []);
    let mut told = Vec::new();
    while told.len() < 2 {
        assert!(readable(&sim, Duration::from_secs(20)));
        told.extend(sim.take_events());
    }
    assert_eq!(told, [BackendEvent::Ready { paused: false }, BackendEvent::Paused]);
    assert!(began.elapsed() >= Duration::from_millis(40));
}

#[test]
fn a_stepped_guest_waits_for_its_pokes_and_a_kill_overtakes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door");
    let door = UnixDatagram::bind(&path).unwrap();
    let mut sim = Sim::new("step".parse().unwrap(), Some(door)).unwrap();
    sim.order(UP).unwrap();
    sim.order(Order::Pause).unwrap();
    let poke = UnixDatagram::unbound().unwrap();
    for word in ["jump", "", "\u{0}", &"step".repeat(100)] {
        poke.send_to(word.as_bytes(), &path).unwrap();
    }
    assert_eq!(sim.take_events(), [], "what is no word does nothing");
    poke.send_to(b"step\n", &path).unwrap();
    assert!(readable(&sim, Duration::from_secs(20)));
    assert_eq!(sim.take_events(), [BackendEvent::Ready { paused: false }]);
    assert_eq!(after(&mut sim, Order::Kill), [BackendEvent::Exited(ExitStatus::Unknown)]);
    sim.poke(Poke::Step);
    assert_eq!(sim.take_events(), [], "nothing is carried out any more");
}

#[test]
fn each_fault_does_what_its_word_says() {
    let mut failing = sim("fail-start");
    let events = after(&mut failing, UP);
    assert!(matches!(&events[..], [BackendEvent::StartFailed(report)] if report.code == Code::VmStartFailed));
    assert_eq!(after(&mut sim("hang-start"), UP), []);
    let mut hanging = sim("hang");
    assert_eq!(after(&mut hanging, UP), [BackendEvent::Ready { paused: false }]);
    for order in [Order::Pause, Order::PowerDown(Way::Button), Order::CutPower] {
        assert_eq!(after(&mut hanging, order), []);
    }
    assert_eq!(after(&mut hanging, Order::Kill), [BackendEvent::Exited(ExitStatus::Unknown)]);
    let mut stubborn = sim("no-power-down");
    drop(after(&mut stubborn, UP));
    assert_eq!(after(&mut stubborn, Order::PowerDown(Way::Button)), []);
    assert_eq!(after(&mut stubborn, Order::CutPower), [BackendEvent::Exited(ExitStatus::Unknown)]);
    assert_eq!(after(&mut sim("panic"), UP).len(), 4);
    assert!(after(&mut sim("end"), UP).contains(&BackendEvent::ShutDown(Shutdown::ByGuest)));
    let mut running = sim("");
    drop(after(&mut running, UP));
    running.poke(Poke::Fail);
    assert!(running.take_events().contains(&BackendEvent::Exited(ExitStatus::Failed)));
}

#[test]
fn a_state_is_gone_on_from_and_another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("memory");
    let mut first = sim("");
    drop(after(&mut first, UP));
    assert_eq!(after(&mut first, Order::Save { to: file.clone() }), [BackendEvent::Saved]);
    assert!(
        matches!(&after(&mut first, Order::Save { to: file.clone() })[..], [BackendEvent::SaveFailed(_)]),
        "what is there is not written over"
    );
    let mut second = sim("");
    assert_eq!(
        after(&mut second, Order::Restore { from: file.clone() }),
        [BackendEvent::Ready { paused: true }]
    );
    assert_eq!(second.saves(), 1);
    for damaged in ["", "selfsame sim 2\n1\n", "selfsame sim 1\n", "selfsame sim 1\n-1\n", &"x".repeat(1000)]
    {
        std::fs::write(&file, damaged).unwrap();
        let told = after(&mut sim(""), Order::Restore { from: file.clone() });
        assert!(matches!(&told[..], [BackendEvent::StartFailed(_)]), "{damaged}: {told:?}");
    }
    let mut failing = sim("fail-save");
    drop(after(&mut failing, UP));
    let to = folder.path().join("other");
    assert!(matches!(
        &after(&mut failing, Order::Save { to: to.clone() })[..],
        [BackendEvent::SaveFailed(_)]
    ));
    assert!(!to.exists());
}
