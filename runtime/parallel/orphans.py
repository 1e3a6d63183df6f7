"""Forked processes end with the one that forked them, however that ends."""

from __future__ import annotations

import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Called in a process just forked by ``parent``: it is killed when that is gone. Linux only;
    nothing elsewhere."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # gone before it was asked for
            os._exit(1)


def may_end_with_this_thread() -> bool:
    """What ``end_with_parent`` watches is the parent's thread that forked: only the main thread
    lasts as long as its process."""
    return threading.current_thread() is threading.main_thread()
