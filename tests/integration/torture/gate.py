"""The network between Lull and the primary: a relay that can be cut in half. Started as a process of its own:

    gate.py PORT TARGET_PORT

`cut N SEED` on stdin closes N of Lull's connections without a word, those first that wait for an answer, while the server's side
of them stays open for two seconds: a statement that runs goes on, and ends, with nobody to hear of it. That is what a broken
network looks like to both."""
import random
import selectors
import socket
import struct
import sys
import time

LINGER = 2.0


class Gate:
    def __init__(self, port, target):
        self.target = target
        self.selector = selectors.DefaultSelector()
        self.pairs = {}      # Lull's socket -> the server's
        self.peers = {}      # both ways
        self.logged_in = set()  # of Lull's sockets
        self.waiting = set()    # of these: asked, and not answered
        self.half_open = []  # (when to close, the server's socket)
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(sys.stdin.buffer.raw, selectors.EVENT_READ)

    def run(self):
        while True:
            for key, _ in self.selector.select(0.2):
                if key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj is sys.stdin.buffer.raw:
                    line = sys.stdin.buffer.raw.read(100)
                    if not line:
                        return
                    for words in (text.split() for text in line.decode().splitlines()):
                        self.cut(int(words[1]), int(words[2]))
                elif key.fileobj in self.peers:
                    self.relay(key.fileobj)
                elif key.fileobj.fileno() >= 0:  # not closed by one before it
                    self.swallow(key.fileobj)
            now = time.monotonic()
            for at, server in [half for half in self.half_open if half[0] <= now]:
                self.half_open.remove((at, server))
                self.forget(server)

    def accept(self):
        client, _ = self.listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 2)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(one, selectors.EVENT_READ)
        self.pairs[client] = server
        self.peers[client], self.peers[server] = server, client

    def relay(self, source):
        try:
            data = source.recv(1 << 16)
            if data:
                self.peers[source].sendall(data)
                if source in self.logged_in:
                    self.waiting.add(source)
                elif source not in self.pairs:
                    self.waiting.discard(self.peers[source])
                    if b"Z\0\0\0\5" in data:
                        self.logged_in.add(self.peers[source])
                return
        except OSError:
            pass
        other = self.peers.pop(source)
        self.peers.pop(other, None)
        self.pairs.pop(source, None)
        self.pairs.pop(other, None)
        self.waiting -= {source, other}
        self.logged_in -= {source, other}
        self.forget(source)
        self.forget(other)

    def swallow(self, server):
        """What a server says into a connection of which only its half is left."""
        try:
            if server.recv(1 << 16):
                return
        except OSError:
            pass
        self.half_open = [half for half in self.half_open if half[1] is not server]
        self.forget(server)

    def forget(self, one):
        if one.fileno() >= 0:
            self.selector.unregister(one)
            one.close()

    def cut(self, count, seed):
        clients = list(self.pairs)
        random.Random(seed).shuffle(clients)
        clients.sort(key=lambda client: client not in self.waiting)
        for client in clients[:count]:
            self.waiting.discard(client)
            self.logged_in.discard(client)
            server = self.pairs.pop(client)
            del self.peers[client], self.peers[server]
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
            self.forget(client)
            self.half_open.append((time.monotonic() + LINGER, server))


if __name__ == "__main__":
    Gate(int(sys.argv[1]), int(sys.argv[2])).run()
