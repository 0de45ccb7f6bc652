"""Free TCP ports, below the range that the kernel gives to outgoing connections, so that nobody takes one by accident
between the moment it is chosen and the moment a server listens on it. A lock file keeps test runs side by side apart."""
import fcntl
import os
import random
import socket
import tempfile

_locks = []  # held until the process ends


def free_port():
    folder = os.path.join(tempfile.gettempdir(), "lull-test-ports")
    os.makedirs(folder, mode=0o777, exist_ok=True)
    for _ in range(1000):
        port = random.randint(20000, 31999)
        try:
            lock = open(os.path.join(folder, str(port)), "w")
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _locks.append(lock)
        return port
    raise RuntimeError("no free port between 20000 and 31999")
