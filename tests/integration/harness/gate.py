"""A TCP gate before a server: connections pass through it until one is cut, and the server does not learn of that."""
import contextlib
import select
import socket
import struct
import threading
import time

from .ports import free_port


class Gate:
    """`heads`: the first bytes of each connection, as its client has sent them. `delay`: how many seconds the bytes of a
    connection that is made now are kept back, once."""

    def __init__(self, to_port, host="127.0.0.1", port=None):
        self.to_port = to_port
        self.port = port or free_port()
        self.heads = []
        self.delay = 0
        self._pairs = []  # [the side of the client, the side of the server, the first bytes]
        self._silent = []
        self._listener = socket.create_server((host, self.port))
        self._stop = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self._stop:
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                pair = [client, socket.create_connection(("127.0.0.1", self.to_port)), bytearray()]
                self._pairs.append(pair)
                threading.Thread(target=self._relay, args=(pair, self.delay), daemon=True).start()

    def _relay(self, pair, delay):
        client, server, head = pair
        time.sleep(delay)
        self.heads.append(head)
        with contextlib.suppress(OSError, ValueError):
            while pair[0] is not None:
                if pair in self._silent:
                    time.sleep(0.05)
                    continue
                for one in select.select([client, server], [], [], 0.05)[0]:
                    data = one.recv(65536)
                    if not data:
                        raise OSError("closed")
                    if one is client and len(head) < 64:
                        head += data[:64]
                    (server if one is client else client).sendall(data)
        if pair[0] is not None:  # not cut
            client.close()
            server.close()

    def open(self):
        """So many connections pass through it now."""
        return sum(client is not None and client.fileno() != -1 for client, _, _ in self._pairs)

    def fall_silent(self, word):
        """Nothing more passes through the connections that began with this in their first bytes, and neither side is told."""
        self._silent += [pair for pair in self._pairs if word in pair[2]]
        assert self._silent, f"no connection began with {word}"

    def cut(self, server_port_of_backend):
        """Resets the client's side of the connection that the backend sees come from that port; the server's side stays open."""
        for pair in self._pairs:
            with contextlib.suppress(OSError):
                if pair[0] is not None and pair[1].getsockname()[1] == server_port_of_backend:
                    client, pair[0] = pair[0], None
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                    return pair[1]
        raise AssertionError("no such connection")

    def close(self):
        self._stop = True
        self._listener.close()
        for pair in self._pairs:
            for one in pair[:2]:
                if one is not None:
                    one.close()
