"""Runs one arm64 Mach-O program on Linux, with fakes of the parts of macOS that this project uses.

The program's own instructions run in Unicorn; every function it imports is answered in Python:

    image       loads the file: segments, fixups, signature, entitlements
    machine     memory, registers, traps, calls into the program
    world       one emulated process: the machine and all fakes together
    libc, system, native    libSystem
    dispatch    queues and timers over a virtual clock
    objc, blocks            the Objective-C runtime
    foundation, security    Foundation, CoreFoundation, SecTask
    virtualization/         the rules of Virtualization.framework

The fakes say what we believe of the real things. A run that passes is a regression test of our code against that
belief; it proves nothing about a Mac. Each module names the sources of its belief.
"""
