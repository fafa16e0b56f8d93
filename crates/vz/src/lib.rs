//! Virtualization.framework, and the back end that runs guests with it on Apple silicon Macs.
//!
//! **Experimental: no Mac has run it.** It is type-checked, linted, linked and signed on Linux, and its framework code
//! is run through scenarios with an emulator whose fakes say what we believe of the framework; `docs/mac.md` draws the
//! line between what that proves and what only a Mac can.
//!
//! ```text
//!   driver's thread                           the machine's serial dispatch queue
//!  ┌────────────────┐  Order                ┌───────────────────────────────────────────┐
//!  │ Vz (Backend)   │ ───── Queue::submit ─▶│ Machine: configuration, VZVirtualMachine, │
//!  │                │                       │ delegate, completion handlers             │
//!  │ take_events  ◀─┼── Bell: one event, ───┤                                           │
//!  └────────────────┘   one byte            └───────────────────────────────────────────┘
//! ```
//!
//! **Invariant: queue-bound by construction.** The framework aborts a process that touches a virtual machine, its devices
//! or its installer off the machine's queue, getters included. So every function that touches one of those takes an
//! `OnQueue`, which exists only inside work that runs on a queue, and they lie in a `Bound`, which opens only for the
//! `OnQueue` of its own queue and lets go of its content there. Configurations are plain values of the same work;
//! identifiers and class methods need no queue.
//!
//! **Invariant: completion handlers are the truth.** No state is polled. Each handler owns its own sender.
//!
//! **Invariant: nothing the framework cannot be asked for is assumed.** The entitlement is probed before anything else;
//! what a newer macOS brought is asked for by selector.
//!
//! What does not need the framework (plans, errors, the retry schedule, the bell) compiles everywhere and is tested
//! everywhere. Public API only; `docs/vz-surface.md` lists all of it.

#[cfg(any(target_os = "macos", test))]
mod bell;
mod error;
mod plan;
mod retry;

#[cfg(target_os = "macos")]
#[expect(unsafe_code, reason = "calling Objective-C is unsafe")]
mod framework;

pub use error::{Chain, Domain, Link, Unsupported, Verdict, VzCode, VzError};
pub use plan::{Boot, Parts, Plan, PlanError, Platform};
pub use retry::Retry;

/// What is said of this back end wherever a user meets it, for as long as `docs/status.toml` says it.
pub const EXPERIMENTAL: &str = "Virtualization.framework is experimental in selfsame: no Mac has run it";

#[cfg(target_os = "macos")]
pub use framework::{Facts, Vz, entitled, facts, fresh_identifier, written_back};

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_called_experimental_for_as_long_as_the_status_says_so() {
        let status = include_str!("../../../docs/status.toml");
        let row =
            status.split("[[back_end]]").find(|row| row.contains("\"Virtualization.framework\"")).unwrap();
        assert!(row.contains("state = \"experimental\"\nevidence = \"no Mac has run it"), "{row}");
        assert!(super::EXPERIMENTAL.ends_with("experimental in selfsame: no Mac has run it"));
    }
}
