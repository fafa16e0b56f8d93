"""What must be true of `vz-drive`, and so of the code that it is made of, on the emulated Mac.

A scenario is a function that makes VMs in an empty folder, gives commands, and looks at what was printed and at what
the frameworks were asked. Its first line of documentation is the promise it tests.
"""
