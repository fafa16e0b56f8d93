//! The delegate: what the framework tells about a running machine.
//!
//! The macro does not compare these selectors with the protocol's: one that is misspelt would never be called. The
//! checks of `make mac` do.

use std::sync::Weak;

use objc2::rc::Retained;
use objc2::runtime::{NSObject, NSObjectProtocol};
use objc2::{AnyThread as _, DefinedClass as _, define_class, msg_send};
use objc2_foundation::NSError;
use objc2_virtualization::{VZNetworkDevice, VZVirtualMachine, VZVirtualMachineDelegate};

use super::error::link_of;
use super::machine::Machine;

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses, and there is no `Drop`.
    #[unsafe(super(NSObject))]
    #[name = "SelfsameMachineDelegate"]
    #[ivars = Weak<Machine>]
    #[derive(Debug)]
    pub(super) struct Delegate;

    // SAFETY: NSObject implements it.
    unsafe impl NSObjectProtocol for Delegate {}

    // SAFETY: the selectors and types are the protocol's (objc2-virtualization 0.3.2).
    unsafe impl VZVirtualMachineDelegate for Delegate {
        #[unsafe(method(guestDidStopVirtualMachine:))]
        fn guest_did_stop(&self, _machine: &VZVirtualMachine) {
            if let Some(machine) = self.ivars().upgrade() {
                machine.queue().callback(|on| machine.guest_stopped(on));
            }
        }

        #[unsafe(method(virtualMachine:didStopWithError:))]
        fn did_stop_with_error(&self, _machine: &VZVirtualMachine, error: &NSError) {
            if let Some(machine) = self.ivars().upgrade() {
                machine.queue().callback(|on| machine.failed(on, link_of(error)));
            }
        }

        #[unsafe(method(virtualMachine:networkDevice:attachmentWasDisconnectedWithError:))]
        fn network_lost(&self, _machine: &VZVirtualMachine, _device: &VZNetworkDevice, error: &NSError) {
            if let Some(machine) = self.ivars().upgrade() {
                machine.queue().callback(|on| machine.network_lost(on, &link_of(error)));
            }
        }
    }
);

impl Delegate {
    /// A delegate that tells `machine` for as long as there is one: the machine owns the delegate, not the other way.
    pub(super) fn new(machine: Weak<Machine>) -> Retained<Self> {
        let this = Self::alloc().set_ivars(machine);
        // SAFETY: NSObject's `init`, on an object just made.
        unsafe { msg_send![super(this), init] }
    }
}
