"""Scripts of what clients say, one message a line, and how they are played: to a server, or to Lull in front of it.

    # A comment; the first says what the script is about.
    version 18                              only for servers of this version or later; at the top
    Query SELECT 1; SELECT 2                a line that begins with two blanks goes on with the one before
    Parse s (23,25) SELECT $1, $2           the messages have the names of the manual; "-" is the empty name, types may be left out
    Bind p s [1, null, {"hex": "ff"}] in [1] out [0]
    Describe S s        Execute p 3         Close P p          Sync        Flush        FunctionCall 177 [1, 2]
    CopyData a\\tb\\n   CopyDone            CopyFail why       Terminate   Bytes 51 00 00 00 04
    repeat 20 ... end                       {i} within is 0, 1, 2 ...; {xy*3000} is xyxyxy...
    read                                    sends all that in one write, and reads until all ReadyForQuery that it is owed have come
    read 0 | read 2                         sends; another number
    read type C | read type ZE | read closed   sends; up to a message of such a type; to the end of the connection
    differs in transaction from 18: why     what that read brings is not what the server says; or to 15; or without "in" and "from"
    session b                               from here on with a second connection, and so on; the first is a
    login application_name=x                opens the session with more than user and database
    connect                                 opens it without logging in; then:
    SSLRequest          GSSENCRequest       read byte
    Startup 3.2 user=app database=shop options="-c work_mem=3MB"
    Authenticate app-secret                 reads up to AuthenticationOk, or the error
    cancel a                                a CancelRequest with the key of that session
    until SELECT count(*) = 1 FROM ...      waits until one of the servers, asked by a superuser in the database, says so
"""
import glob
import itertools
import json
import os
import random
import re
import shlex
import socket
import struct
from dataclasses import dataclass, field

from . import wire as w
from .cluster import APP_PASSWORD
from .wait import wait_for

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scripts")
PATIENCE = 5


@dataclass
class Difference:
    mode: str  # "" is both
    first: int  # versions of the server
    last: int
    reason: str


@dataclass
class Step:
    kind: str
    session: str
    argument: object = None
    line: int = 0
    differences: list = field(default_factory=list)


@dataclass
class Script:
    name: str
    title: str
    version: int
    steps: list

    @property
    def reads(self):
        """The steps that bring something, in the order of a transcript."""
        return [step for step in self.steps if step.kind in ("read", "authenticate", "cancel")]

    def differences(self, mode, version):
        """{index of the read: reason}"""
        found = {}
        for index, step in enumerate(self.reads):
            for one in step.differences:
                if one.mode in ("", mode) and one.first <= version <= one.last:
                    found[index] = one.reason
        return found


def load(path):
    with open(path, encoding="utf-8") as text:
        return _Reader(os.path.splitext(os.path.basename(path))[0], text.read()).script()


def load_all():
    return [load(path) for path in sorted(glob.glob(f"{FOLDER}/*.txt"))]


# -- reading ----------------------------------------------------------------------------------------------------------------

def _name(word):
    return "" if word == "-" else word


def _escaped(text):
    """\\n, \\t, \\xff: bytes; all else as it stands."""
    return re.sub(rb"\\(n|t|r|\\|x[0-9a-f]{2})",
                  lambda m: {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"\\": b"\\"}.get(m[1]) or bytes.fromhex(m[1][1:].decode()),
                  text.encode())


def _value(value):
    if value is None:
        return struct.pack("!i", -1)
    data = bytes.fromhex(value["hex"]) if isinstance(value, dict) else str(value).encode()
    return struct.pack("!i", len(data)) + data


def _formats(numbers):
    return struct.pack("!h", len(numbers)) + b"".join(struct.pack("!h", number) for number in numbers)


def _values(values):
    return struct.pack("!h", len(values)) + b"".join(map(_value, values))


def _message(kind, rest):
    """The bytes of a message, and how many ReadyForQuery it is owed."""
    if kind == "Query":
        return w.query(rest), 1
    if kind == "Parse":
        found = re.match(r"(\S+) (?:\(([\d,]*)\) )?(.*)", rest + " ", re.S)
        types = [int(one) for one in (found[2] or "").split(",") if one]
        return w.parse(_name(found[1]), found[3][:-1], types), 0
    if kind == "Bind":
        found = re.fullmatch(r"(\S+) (\S+) (\[.*?\])(?: in (\[[\d, ]*\]))?(?: out (\[[\d, ]*\]))?", rest, re.S)
        ins, outs = (json.loads(found[n] or "[]") for n in (4, 5))
        return w.message("B", w.cstr(_name(found[1])) + w.cstr(_name(found[2])) + _formats(ins) + _values(json.loads(found[3]))
                         + _formats(outs)), 0
    if kind in ("Describe", "Close"):
        what, name = rest.split(" ")
        return (w.describe if kind == "Describe" else w.close)(what, _name(name)), 0
    if kind == "Execute":
        name, _, rows = rest.partition(" ")
        return w.execute(_name(name), int(rows or 0)), 0
    if kind == "FunctionCall":
        found = re.fullmatch(r"(\d+) (\[.*?\])(?: in (\[[\d, ]*\]))?(?: out (\d))?", rest)
        body = struct.pack("!I", int(found[1])) + _formats(json.loads(found[3] or "[]")) + _values(json.loads(found[2]))
        return w.message("F", body + struct.pack("!h", int(found[4] or 0))), 1
    if kind == "CopyData":
        return w.copy_data(_escaped(rest)), 0
    if kind == "CopyFail":
        return w.copy_fail(rest), 0
    if kind == "Bytes":
        return bytes.fromhex(rest), 0
    if kind == "Startup":
        version, *pairs = shlex.split(rest)
        return w.startup(dict(pair.split("=", 1) for pair in pairs), tuple(map(int, version.split(".")))), 0
    plain = {"Sync": w.sync, "Flush": w.flush, "CopyDone": w.copy_done, "Terminate": w.terminate, "SSLRequest": w.ssl_request,
             "GSSENCRequest": w.gssenc_request}
    return plain[kind](), int(kind == "Sync")


class _Reader:
    def __init__(self, name, text):
        self.name = name
        self.lines = []  # (number, text)
        self.title = ""
        for number, line in enumerate(text.split("\n"), 1):
            if line.startswith("#"):
                self.title = self.title or line[1:].strip()
            elif line.startswith("  ") and self.lines:
                self.lines[-1] = (self.lines[-1][0], f"{self.lines[-1][1]}\n{line[2:]}")
            elif line.strip():
                self.lines.append((number, line))
        self.version = 0
        self.session = "a"
        self.steps = []

    def script(self):
        assert self.title, f"{self.name} does not say what it is about"
        self._lines(self.lines)
        return Script(self.name, self.title, self.version, self.steps)

    def _lines(self, lines, i=None):
        at = 0
        while at < len(lines):
            number, line = lines[at]
            at += 1
            if line.startswith("repeat "):
                end = next(n for n in range(at, len(lines)) if lines[n][1] == "end")
                for i in range(int(line[7:])):
                    self._lines(lines[at:end], i)
                at = end + 1
                continue
            if i is not None:
                line = line.replace("{i}", str(i))
            line = re.sub(r"\{([^{}\"]+?)\*(\d+)\}", lambda m: m[1] * int(m[2]), line)
            try:
                self._line(number, line)
            except Exception as error:
                raise ValueError(f"{self.name}, line {number}: {line[:100]!r}: {error!r}") from error

    def _line(self, number, line):
        word, _, rest = line.partition(" ")
        if word == "version":
            self.version = int(rest)
        elif word == "session":
            self.session = rest
        elif word.rstrip(":") == "differs":
            found = re.fullmatch(r"differs(?: in (session|transaction))?(?: from (\d+))?(?: to (\d+))?: (.+)", line)
            self.steps[-1].differences.append(Difference(found[1] or "", int(found[2] or 0), int(found[3] or 999), found[4]))
        elif word in ("read", "connect", "login", "cancel", "until", "Authenticate"):
            self.steps.append(Step(word.lower(), self.session, rest, number))
        else:
            self.steps.append(Step("say", self.session, _message(word, rest), number))


# -- playing ----------------------------------------------------------------------------------------------------------------

class Player:
    """Plays a script to one port. `ask` asks the servers themselves, whether any of them says yes; `cut` is a random.Random: what is sent comes in pieces."""

    def __init__(self, port, ask, cut=None):
        self.port, self.ask, self.cut = port, ask, cut
        self.wires, self.pending, self.owed = {}, {}, {}

    def play(self, script):
        try:
            return [seen for step in script.steps if (seen := self._step(step)) is not None]
        finally:
            for one in self.wires.values():
                one.close()

    def _wire(self, name):
        if name not in self.wires:
            self._open(name).login("app", APP_PASSWORD, "shop")
        return self.wires[name]

    def _open(self, name):
        assert name not in self.wires
        self.wires[name] = w.Wire("127.0.0.1", self.port, PATIENCE)
        self.pending[name], self.owed[name] = [], 0
        return self.wires[name]

    def _step(self, step):
        if step.kind == "connect":
            self._open(step.session)
            return None
        if step.kind == "login":
            more = dict(pair.split("=", 1) for pair in shlex.split(step.argument))
            self._open(step.session).login("app", APP_PASSWORD, "shop", **more)
            return None
        if step.kind == "until":
            wait_for(lambda: self.ask(step.argument), step.argument)
            return None
        wire = self._wire(step.session)
        if step.kind == "say":
            data, ready = step.argument
            self.pending[step.session].append(data)
            self.owed[step.session] += ready
            return None
        try:
            if step.kind == "cancel":
                return self._cancel(self._wire(step.argument))
            self._send(wire, b"".join(self.pending[step.session]))
            self.pending[step.session] = []
            if step.kind == "authenticate":
                return self._authenticate(wire, step.argument)
            return self._read(wire, step.argument, step.session)
        except OSError as error:  # also a time-out
            return [type(error).__name__]

    def _send(self, wire, data):
        if self.cut is None:
            wire.send(data)
            return
        for _ in range(100):
            size = self.cut.choice((1, 1, 2, 3, 5, 7, 64))
            if not data:
                return
            wire.send(data[:size])
            data = data[size:]
        wire.send(data)

    def _read(self, wire, how, session):
        if how == "byte":
            return [wire.byte().decode()]
        if how == "closed":
            return visible(wire.until_closed()) + ["closed"]
        if how.startswith("type "):
            count, kinds = 1, how[5:]
        else:
            count, kinds = int(how or self.owed[session]), "Z"
            self.owed[session] = 0
        seen = []
        try:
            while count:
                seen.append(wire.receive())
                count -= seen[-1].type in kinds
        except w.Closed:
            return visible(seen) + ["closed"]
        except OSError as error:
            return visible(seen) + [type(error).__name__]
        if wire.pid is None:
            note_key(wire, seen)
        return visible(seen)

    @staticmethod
    def _authenticate(wire, password):
        try:
            wire.authenticate("", password)
        except RuntimeError:
            pass
        except w.Closed:
            return visible(wire.login_messages) + ["closed"]
        return visible(wire.login_messages)

    def _cancel(self, target):
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as other:
            other.sendall(w.cancel_request(target.pid, target.secret))
            other.settimeout(PATIENCE)
            return [other.recv(1)]


def note_key(wire, messages):
    for one in messages:
        if one.type == "K":
            wire.pid, wire.secret = struct.unpack_from("!I", one.body)[0], one.body[4:]


def cut_of(script):
    return random.Random(script.name)


# -- comparing --------------------------------------------------------------------------------------------------------------

def columns(body):
    """A RowDescription without the oid of the table, which was made anew between two plays."""
    count, at, seen = struct.unpack_from("!h", body)[0], 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        name, facts = body[at:end], struct.unpack_from("!IhIhih", body, end + 1)
        seen.append((name, facts[0] != 0, *facts[1:]))
        at = end + 19
    return seen


def visible(messages):
    """Messages with what must be equal: all bytes, but for process ids, keys, nonces, the oids of tables, and the order in
    which parameters are told that change at one time."""
    messages = [one for _, group in itertools.groupby(messages, lambda one: one.type == "S")
                for one in sorted(group, key=lambda one: one.body if one.type == "S" else b"")]
    seen = []
    for one in messages:
        if one.type in "EN":
            seen.append((one.type, w.error_fields(one.body)))
        elif one.type == "A":
            seen.append((one.type, one.body[4:]))
        elif one.type == "T":
            seen.append((one.type, columns(one.body)))
        elif one.type == "K":
            seen.append((one.type, len(one.body) - 4))
        elif one.type == "R":
            code = struct.unpack_from("!i", one.body)[0]
            seen.append((one.type, code, one.body[4:] if code == 10 else b""))
        else:
            seen.append((one.type, one.body))
    return seen


def same(want, have):
    """An error that Lull itself says names no source file; all else must be equal."""
    if len(want) != len(have):
        return False
    for a, b in zip(want, have):
        if a == b:
            continue
        if a[0] not in ("E", "N") or a[0] != b[0] or set("FLR") & set(b[1]):
            return False
        if {key: value for key, value in a[1].items() if key not in "FLR"} != b[1]:
            return False
    return True
