//! What this Mac's framework can do.

use objc2::{ClassType as _, sel};
use objc2_virtualization::{VZVirtualMachine, VZVirtualMachineConfiguration};

/// What this Mac's framework can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whether it runs guests at all.
    pub supported: bool,
    /// Whether it saves and restores guests (macOS 14 and newer).
    pub saves: bool,
    /// The most virtual processors that a guest may have.
    pub most_cpus: usize,
    /// The most memory that a guest may have, in bytes.
    pub most_memory: u64,
}

/// Asks the framework. No guest and no entitlement is needed.
#[must_use]
pub fn facts() -> Facts {
    // SAFETY: class methods that take nothing; Apple's documentation binds only a machine's own methods to a queue.
    let (supported, most_cpus, most_memory) = unsafe {
        (
            VZVirtualMachine::isSupported(),
            VZVirtualMachineConfiguration::maximumAllowedCPUCount(),
            VZVirtualMachineConfiguration::maximumAllowedMemorySize(),
        )
    };
    let saves =
        VZVirtualMachine::class().instance_method(sel!(saveMachineStateToURL:completionHandler:)).is_some();
    Facts { supported, saves, most_cpus, most_memory }
}
