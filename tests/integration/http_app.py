"""An application with every manner that a proxy must bear: a thread a connection, raw sockets, paths that say how to answer."""
import hashlib
import json
import socket
import struct
import threading
import time
from urllib.parse import parse_qs, urlsplit


class Closed(Exception):
    pass


class Reader:
    def __init__(self, sock):
        self.sock, self.data = sock, b""

    def more(self):
        got = self.sock.recv(1 << 16)
        if not got:
            raise Closed
        self.data += got

    def until(self, end):
        while end not in self.data:
            self.more()
        line, self.data = self.data.split(end, 1)
        return line

    def exactly(self, n):
        """In pieces, so that a large body need not be held."""
        while n:
            if not self.data:
                self.more()
            piece, self.data = self.data[:n], self.data[n:]
            n -= len(piece)
            yield piece


class Request:
    def __init__(self, reader):
        lines = reader.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.fields = [tuple(line.split(": ", 1)) for line in lines[1:]]
        self.path = urlsplit(self.target).path
        self.query = {k: v[0] for k, v in parse_qs(urlsplit(self.target).query).items()}
        self.reader = reader
        self.trailers = []

    def get(self, name):
        return next((v for k, v in self.fields if k.lower() == name.lower()), None)

    def pieces(self):
        if self.get("transfer-encoding"):
            while size := int(self.reader.until(b"\r\n"), 16):
                yield from self.reader.exactly(size)
                self.reader.until(b"\r\n")
            while line := self.reader.until(b"\r\n"):
                self.trailers.append(line.decode("latin-1"))
        else:
            yield from self.reader.exactly(int(self.get("content-length") or 0))


class App:
    def __init__(self, port=0):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.requests = []
        self.release = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def stop(self):
        self.release.set()
        if self.listener.fileno() < 0:
            return
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def serve(self, sock):
        reader = Reader(sock)
        try:
            while True:
                request = Request(reader)
                self.requests.append(request)
                name = "do_" + request.path.strip("/").split("/")[0].replace("-", "_")
                if getattr(self, name, self.do_default)(sock, request) == "close":
                    return
        except (Closed, OSError):
            pass
        finally:
            sock.close()

    @staticmethod
    def reply(sock, body, *fields, status="200 OK"):
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
        sock.sendall("\r\n".join(head).encode() + body)

    def do_default(self, sock, request):
        list(request.pieces())
        self.reply(sock, b"" if request.method == "HEAD" else f"you asked for {request.target}".encode())

    def do_headers(self, sock, request):
        body = b"".join(request.pieces())
        self.reply(sock, json.dumps({"method": request.method, "target": request.target, "fields": request.fields,
                                     "body": body.decode("latin-1"), "trailers": request.trailers}).encode())

    def do_sink(self, sock, request):
        total, digest = 0, hashlib.sha256()
        for piece in request.pieces():
            total += len(piece)
            digest.update(piece)
        self.reply(sock, json.dumps({"bytes": total, "sha256": digest.hexdigest(), "trailers": request.trailers,
                                     "coding": request.get("transfer-encoding")}).encode())

    def do_big(self, sock, request):
        n, block = int(request.query["n"]), bytes(range(256)) * 256
        chunked = "chunked" in request.query
        close = "close" in request.query
        framing = b"Transfer-Encoding: chunked\r\n" if chunked else b"" if close else b"Content-Length: %d\r\n" % n
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        self.sent = 0
        while n:
            piece = block[:n]
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            n -= len(piece)
            self.sent += len(piece)
        if chunked:
            sock.sendall(b"0\r\n\r\n")
        return "close" if close else None

    def do_chunked(self, sock, request):
        sock.sendall(b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"one ", b"two ", b"three"):
            sock.sendall(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
            time.sleep(0.02)
        sock.sendall(b"0\r\nX-Sum: 42\r\nContent-Length: 7\r\n\r\n")

    def do_until_close(self, sock, request):
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nall there is")
        return "close"

    def do_http10(self, sock, request):
        sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
        return "close"

    def do_slow(self, sock, request):
        list(request.pieces())
        self.release.wait(float(request.query.get("s", "5")))
        self.reply(sock, b"late")

    def do_drip(self, sock, request):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(int(request.query["n"])):
            sock.sendall(b"8\r\ndata: %d\n\r\n" % (i % 10))
            time.sleep(float(request.query["s"]))
        sock.sendall(b"0\r\n\r\n")

    def do_die(self, sock, request):
        how = request.path.split("/")[2]
        if how == "before":
            return "close"
        if how == "length":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        if how == "chunked":
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        if how == "reset":
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nsome of it")
            time.sleep(0.1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return "close"

    def do_continue(self, sock, request):
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.reply(sock, b"".join(request.pieces()))

    def do_hints(self, sock, request):
        sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        self.reply(sock, b"after the hints")

    def do_early(self, sock, request):
        self.reply(sock, b"too much", "Connection: close", status="413 Content Too Large")
        return "close"

    def do_once(self, sock, request):
        """Keeps the connection by its words, and closes it all the same."""
        self.reply(sock, b"once")
        return "close"

    def do_empty(self, sock, request):
        status = request.path.split("/")[2]
        sock.sendall(f"HTTP/1.1 {status} X\r\nETag: \"a\"\r\n\r\n".encode())

    def do_bad(self, sock, request):
        sock.sendall({
            "start": b"HTTQ/1.1 200 OK\r\n\r\n",
            "both": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            "folded": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
            "switch": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "interim": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100,
        }[request.path.split("/")[2]])
        time.sleep(0.2)
        return "close"

    def do_leak(self, sock, request):
        self.reply(sock, b"body", "X-Read-Only-Mode: 7", "X-Lull-Secret: 1", "Keep-Alive: timeout=5", "Proxy-Authenticate: a",
                   "Connection: X-Hop", "X-Hop: 1", "X-App: 1")

    def do_upgrade(self, sock, request):
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
        while data := request.reader.data or sock.recv(65536):
            request.reader.data = b""
            sock.sendall(data)
        return "close"
