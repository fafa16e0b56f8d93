"""Virtualization.framework's rules, as far as they are documented or seen.

Sources, and how sure each rule is:

- Apple's documentation and headers, as objc2-virtualization 0.3.2 binds them: classes, selectors, since which macOS,
  error codes, what may be done in which state, that a machine is touched on its queue only (high).
- That an access off the queue aborts the process: crash reports in the issues of lume, tart and arcbox (high).
- Texts and nesting of errors, the lock on auxiliary storage and that it outlives the machine's object, the kernel's
  limit of macOS guests and its leaks, the locked keychain of macOS 15: issues of tart, UTM, lume, macosvm and Kernova
  (medium).
- Times are ours.

All of this is what we believe, and no proof.
"""
