"""Lets a child process hear Ctrl-C and a hang-up, however the tests were started.

A script that starts the tests in its background lets them ignore SIGINT, and `nohup` SIGHUP; child
processes inherit that.
"""

import signal


def hear_all() -> None:
    """Give the signals their default action; for `preexec_fn` of `subprocess`."""
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
