"""Kernels that talk through sockets in a temporary folder instead of TCP ports.

A port is chosen before the kernel takes it, so of kernels that start at the same time one may find its port taken and
die. Files of its own cannot be taken, and nobody else on the machine can listen.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from jupyter_client.manager import KernelManager


def use_sockets() -> None:
    """Change the transport of every kernel manager made from now on; Windows has no such sockets."""
    original = KernelManager.__init__

    def init(self, *args, **settings):
        original(self, *args, **settings)
        folder = tempfile.mkdtemp(prefix="kernel-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.transport, self.ip = "ipc", os.path.join(folder, "socket")

    if os.name == "posix":
        KernelManager.__init__ = init  # type: ignore[method-assign]


use_sockets()
