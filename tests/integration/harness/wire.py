"""A raw client of protocol 3.0: says exactly the bytes it is told to, and shows every message that comes back."""
import base64
import hashlib
import hmac
import os
import select
import socket
import struct
from collections import namedtuple

Message = namedtuple("Message", "type body")


class Closed(Exception):
    """The other side closed the connection."""


# -- messages of a client ---------------------------------------------------------------------------------------------

def cstr(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def query(sql):
    return message("Q", cstr(sql))


def parse(name, sql, types=()):
    return message("P", cstr(name) + cstr(sql) + struct.pack("!h", len(types)) + b"".join(struct.pack("!I", t) for t in types))


def bind(portal="", statement="", values=(), result_formats=()):
    body = cstr(portal) + cstr(statement) + struct.pack("!hh", 0, len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            data = str(value).encode()
            body += struct.pack("!i", len(data)) + data
    body += struct.pack("!h", len(result_formats)) + b"".join(struct.pack("!h", f) for f in result_formats)
    return message("B", body)


def describe(kind, name=""):
    return message("D", kind.encode() + cstr(name))


def execute(portal="", rows=0):
    return message("E", cstr(portal) + struct.pack("!i", rows))


def close(kind, name=""):
    return message("C", kind.encode() + cstr(name))


def sync():
    return message("S")


def flush():
    return message("H")


def terminate():
    return message("X")


def copy_data(data):
    return message("d", data)


def copy_done():
    return message("c")


def copy_fail(why):
    return message("f", cstr(why))


def startup(parameters, version=(3, 0)):
    body = struct.pack("!hh", *version) + b"".join(cstr(k) + cstr(v) for k, v in parameters.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def ssl_request():
    return struct.pack("!ihh", 8, 1234, 5679)


def gssenc_request():
    return struct.pack("!ihh", 8, 1234, 5680)


def cancel_request(pid, secret):
    return struct.pack("!ihhI", 12 + len(secret), 1234, 5678, pid) + secret


# -- messages of a server ---------------------------------------------------------------------------------------------

def error_fields(body):
    """{'S': 'ERROR', 'C': '25006', ...}"""
    return {chr(part[0]): part[1:].decode(errors="backslashreplace") for part in body.split(b"\0") if part}


def row(body):
    count, at, values = struct.unpack_from("!h", body)[0], 2, []
    for _ in range(count):
        size = struct.unpack_from("!i", body, at)[0]
        at += 4
        values.append(None if size < 0 else body[at:at + size].decode())
        at += max(size, 0)
    return tuple(values)


def shape(messages):
    """'T D D C Z' -> the types, for reading at a glance."""
    return "".join(m.type for m in messages)


def rows(messages):
    return [row(m.body) for m in messages if m.type == "D"]


def errors(messages):
    return [error_fields(m.body) for m in messages if m.type == "E"]


def tags(messages):
    return [m.body[:-1].decode() for m in messages if m.type == "C"]


def statuses(messages):
    """The transaction states that ReadyForQuery reported."""
    return "".join(m.body.decode() for m in messages if m.type == "Z")


def parameters(messages):
    return dict(m.body[:-1].decode().split("\0") for m in messages if m.type == "S")


class Wire:
    def __init__(self, host, port, timeout=15):
        self.address = (host, port)
        self.socket = socket.create_connection(self.address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.parameters = {}
        self.pid, self.secret = None, None
        self.login_messages = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # -- bytes ------------------------------------------------------------------------------------------------------

    def send(self, *parts):
        """All in one write, as a pipelining client does."""
        self.socket.sendall(b"".join(parts))
        return self

    def _fill(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Closed()
        self.buffer += data

    def byte(self):
        """One untyped byte: the answer to an SSLRequest."""
        while not self.buffer:
            self._fill()
        one, self.buffer = self.buffer[:1], self.buffer[1:]
        return one

    def receive(self):
        while len(self.buffer) < 5:
            self._fill()
        size = struct.unpack_from("!i", self.buffer, 1)[0] + 1
        while len(self.buffer) < size:
            self._fill()
        one, self.buffer = Message(chr(self.buffer[0]), self.buffer[5:size]), self.buffer[size:]
        if one.type == "S":
            name, value = one.body[:-1].decode().split("\0")
            self.parameters[name] = value
        return one

    def until(self, kinds="Z", count=1):
        """Everything up to and with the `count`-th message of one of these types."""
        seen = []
        while count:
            seen.append(self.receive())
            if seen[-1].type in kinds:
                count -= 1
        return seen

    def until_closed(self):
        """Everything until the other side closes (or resets)."""
        seen = []
        try:
            while True:
                seen.append(self.receive())
        except (Closed, ConnectionResetError, BrokenPipeError):
            return seen

    def quiet(self, seconds=0.2):
        """True when nothing comes for that long."""
        return not self.buffer and not select.select([self.socket], [], [], seconds)[0]

    def readable(self, seconds):
        return bool(self.buffer) or bool(select.select([self.socket], [], [], seconds)[0])

    def start_tls(self, context, host, direct=False):
        """Asks for TLS (or begins with it) and goes on in it."""
        if not direct:
            self.send(ssl_request())
            assert self.byte() == b"S", "TLS was declined"
        self.socket = context.wrap_socket(self.socket, server_hostname=host, suppress_ragged_eofs=False)
        return self

    # -- conversations ----------------------------------------------------------------------------------------------

    def login(self, user, password, dbname, **parameters):
        self.send(startup(dict(user=user, database=dbname, **parameters)))
        self.authenticate(user, password)
        self.login_messages += self.until("ZE")
        failed = errors(self.login_messages)
        if failed:
            raise RuntimeError(failed[0])
        for one in self.login_messages:
            if one.type == "K":
                self.pid, self.secret = struct.unpack_from("!I", one.body)[0], one.body[4:]
        return self

    def authenticate(self, user, password):
        """Until AuthenticationOk or an error, which stays in login_messages."""
        scram = None
        while True:
            one = self.receive()
            self.login_messages.append(one)
            if one.type != "R":
                if one.type == "E":
                    raise RuntimeError(error_fields(one.body))
                continue
            code = struct.unpack_from("!i", one.body)[0]
            if code == 0:
                return self
            if code == 10:
                scram = Scram(password or "")
                first = scram.first()
                self.send(message("p", cstr("SCRAM-SHA-256") + struct.pack("!i", len(first)) + first))
            elif code == 11:
                self.send(message("p", scram.final(one.body[4:])))
            elif code == 12:
                scram.verify(one.body[4:])
            else:
                raise RuntimeError(f"authentication {code} was asked for")

    def ask(self, *parts, ready=1):
        """Sends, and returns everything up to that many ReadyForQuery."""
        return self.send(*parts).until("Z", ready)

    def query(self, sql):
        return self.ask(query(sql))

    def one(self, sql):
        """The only value of a query."""
        answer = self.query(sql)
        assert not errors(answer), errors(answer)
        return rows(answer)[0][0]

    def extended(self, sql, values=(), name="", portal="", row_limit=0):
        """Parse, Bind, Describe, Execute, Sync in one write."""
        return self.ask(parse(name, sql), bind(portal, name, values), describe("P", portal), execute(portal, row_limit), sync())

    def cancel(self):
        with socket.create_connection(self.address, 10) as other:
            other.sendall(cancel_request(self.pid, self.secret))
            other.settimeout(10)
            assert other.recv(1) == b"", "a cancel request is answered by closing, with nothing"


class Scram:
    """RFC 5802 and 7677, from a password, the client's side."""

    def __init__(self, password):
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()

    def first(self):
        self.bare = f"n=,r={self.nonce}"
        return ("n,," + self.bare).encode()

    def final(self, server_first):
        self.server_first = server_first.decode()
        fields = dict(part.split("=", 1) for part in self.server_first.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce)
        self.iterations, self.salt = int(fields["i"]), base64.b64decode(fields["s"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password, self.salt, self.iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        stored = hashlib.sha256(client_key).digest()
        without_proof = f"c=biws,r={fields['r']}"
        self.auth = f"{self.bare},{self.server_first},{without_proof}".encode()
        signature = hmac.digest(stored, self.auth, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_key = hmac.digest(salted, b"Server Key", "sha256")
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, server_final):
        expected = "v=" + base64.b64encode(hmac.digest(self.server_key, self.auth, "sha256")).decode()
        assert server_final.decode() == expected, "the server did not prove that it knows the password"
