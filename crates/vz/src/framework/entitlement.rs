//! Whether this process may use the framework, asked before anything else is.
//!
//! Configurations can be made without the entitlement; the first that refuses is their validation, with a sentence in the
//! user's language. The code signature itself can be asked (`SecTask`, Security.framework).

use std::ptr;

use objc2_core_foundation::{CFBoolean, CFString};
use objc2_security::SecTask;

/// Whether this process has `com.apple.security.virtualization`; `None` when the system cannot tell.
#[must_use]
pub fn entitled() -> Option<bool> {
    let name = CFString::from_static_str("com.apple.security.virtualization");
    // SAFETY: the default allocator is asked for.
    let task = unsafe { SecTask::from_self(None) }?;
    // SAFETY: no error is asked for, which the function allows.
    let value = unsafe { task.value_for_entitlement(&name, ptr::null_mut()) };
    Some(value.is_some_and(|value| value.downcast_ref::<CFBoolean>().is_some_and(CFBoolean::as_bool)))
}
