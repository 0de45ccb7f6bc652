"""The demo's readers and writers. Each is a thread with one connection that does one thing after the other.

Readers count a read as failed for anything but a complete and right answer; there is no second try. Writers give every
write a token, try again after a refusal (503, or SQLSTATE 25006) and remember the token when the write was acknowledged,
so that the server can be asked for it afterwards.
"""

import http.client
import itertools
import random
import secrets
import threading
import time
from urllib.parse import urlencode

import psycopg2
import psycopg2.errors

ARTICLES = 20_000
TIMEOUT = 60  # seconds; a read that takes longer has failed


def gist(page):
    return (page.partition("<main>")[2] or page)[:200]


class Tally:
    """What happened since the last look. Shared by all clients of one kind; `begun` lets a read that still waits count
    as slow before it ends."""

    def __init__(self):
        self.lock = threading.Lock()
        self.total = {}
        self.recent = {}
        self.slowest = self.slowest_ever = 0.0
        self.begun = {}
        self.complaints = []

    def begin(self):
        with self.lock:
            self.begun[threading.get_ident()] = time.monotonic()

    def end(self, outcome, complaint=None):
        with self.lock:
            took = time.monotonic() - self.begun.pop(threading.get_ident())
            self.slowest = max(self.slowest, took)
            self.total[outcome] = self.total.get(outcome, 0) + 1
            self.recent[outcome] = self.recent.get(outcome, 0) + 1
            if complaint and len(self.complaints) < 20:
                self.complaints.append(complaint)

    def look(self):
        """Counts of the last interval and the slowest, in seconds, of what ended in it or still goes on."""
        with self.lock:
            now = time.monotonic()
            slowest = max([self.slowest, *(now - began for began in self.begun.values())])
            self.slowest_ever = max(self.slowest_ever, slowest)
            recent, self.recent, self.slowest = self.recent, {}, 0.0
            return recent, slowest

    def of(self, outcome):
        with self.lock:
            return self.total.get(outcome, 0)


class Client(threading.Thread):
    """Repeats step() every `pace` seconds until stop is set; a write that was begun is brought to its end first."""

    pace = 0.03

    def __init__(self, settings, tally, stop):
        super().__init__(daemon=True)
        self.settings, self.tally, self.stop = settings, tally, stop
        self.random = random.Random(secrets.randbits(64))

    def run(self):
        while not self.stop.wait(self.pace * self.random.uniform(0.5, 1.5)):
            self.step()

    def step(self):
        """One measured operation: attempt() says how it ended; what it raises is a failure."""
        self.tally.begin()
        try:
            self.tally.end(self.attempt())
        except Exception as error:
            self.disconnect()
            self.tally.end("failed", f"{time.strftime('%H:%M:%S')} {type(self).__name__}: {type(error).__name__}: {error}".strip())

    def article(self):
        return self.random.randint(1, ARTICLES)


class HttpClient(Client):
    connection = None

    def request(self, method, path, form=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.settings["http_port"], timeout=TIMEOUT)
        headers = {"Host": self.settings["host"]}
        body = None
        if form is not None:
            body, headers["Content-Type"] = urlencode(form), "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        return response, response.read().decode()

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class SqlClient(Client):
    connection = None

    def connected(self, **session):
        if self.connection is None or self.connection.closed:
            self.connection = psycopg2.connect(self.settings["site_dsn"], connect_timeout=TIMEOUT,
                                               application_name=type(self).__name__)
            self.connection.set_session(**session)
        return self.connection

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class HttpReader(HttpClient):
    """A visitor: lists, articles (each wants to count its view) and the search form, whose POST only reads."""

    def attempt(self):
        kind = self.random.choice(("list", "article", "article", "search"))
        if kind == "list":
            response, page = self.request("GET", f"/?page={self.random.randint(1, 500)}")
            expected = 'class="grid"'
        elif kind == "article":
            number = self.article()
            response, page = self.request("GET", f"/article/{number}")
            expected = f'action="/article/{number}/comments"'
        else:
            response, page = self.request("POST", "/search", {"q": self.random.choice(("oak", "lamp", "blue", "glass mug"))})
            expected = "<h1>Search:"
        if response.status != 200 or expected not in page:
            raise RuntimeError(f"{kind} answered {response.status}: {gist(page)}")
        return "ok"


class SqlReader(SqlClient):
    """Reads in the three ways that applications do: BEGIN ... COMMIT, BEGIN READ ONLY ... COMMIT, and autocommit."""

    ways = itertools.cycle(({}, {"readonly": True}, {"autocommit": True}))
    pace = 0.02

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.session = next(SqlReader.ways)

    def attempt(self):
        number = self.article()
        connection = self.connected(**self.session)
        with connection.cursor() as cursor:
            cursor.execute("SELECT title, price FROM articles WHERE id = %s", (number,))
            found = cursor.fetchall()
            cursor.execute("SELECT count(*) FROM comments WHERE article_id = %s", (number,))
            if len(found) != 1 or len(cursor.fetchall()) != 1:
                raise RuntimeError(f"article {number}: {len(found)} rows")
        connection.commit()
        return "ok"


class Writer:
    """Mixed into a client: one token until it is acknowledged, then the next."""

    token = None
    patience = 0.25  # seconds between tries of a refused write

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.acknowledged = []
        self.unknown = []  # the connection broke before the answer: the write may or may not have happened

    def run(self):
        super().run()
        while self.token is not None:
            self.step()

    def attempt(self):
        self.token = self.token or secrets.token_hex(12)
        try:
            written = self.write(self.token)
        except Exception:
            self.unknown.append(self.token)
            self.token = None
            raise
        if written:
            self.acknowledged.append(self.token)
            self.token = None
            return "ok"
        time.sleep(self.patience)
        return "refused"


class HttpWriter(Writer, HttpClient):
    """Posts comments through the site's form."""

    pace = 0.1

    def write(self, token):
        form = {"author": "A visitor", "body": "Ordered again, still good.", "token": token}
        response, page = self.request("POST", f"/article/{self.article()}/comments", form)
        if response.status == 503 and response.headers["Retry-After"]:
            return False
        if response.status != 303:
            raise RuntimeError(f"comment answered {response.status}: {gist(page)}")
        return True


class SqlWriter(Writer, SqlClient):
    """Takes orders: a transaction of an INSERT and an UPDATE."""

    pace = 0.05

    def write(self, token):
        number = self.article()
        connection = self.connected()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("INSERT INTO orders (article_id, quantity, token) VALUES (%s, 1, %s)", (number, token))
                cursor.execute("UPDATE article_counters SET sold = sold + 1 WHERE article_id = %s", (number,))
        except psycopg2.errors.ReadOnlySqlTransaction:
            return False
        return True


class SchemaProbe(SqlClient):
    """Looks through Lull whether readers see the schema from before or after the migration."""

    pace = 0.2
    seen = "?"

    def attempt(self):
        with self.connected(autocommit=True).cursor() as cursor:
            cursor.execute("SELECT (SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
                           " WHERE c.relname = 'articles' AND a.attname = 'sku' AND a.attnum > 0),"
                           " (SELECT count(*) FROM pg_class WHERE relname = 'legacy_import')")
            self.seen = {(0, 1): "old", (1, 0): "new"}.get(cursor.fetchone(), "mixed")
        return "ok"


class DirectReader(SqlClient):
    """What a reader without Lull gets: the same read, straight from the primary."""

    pace = 0.1

    def attempt(self):
        if self.connection is None:
            self.connection = psycopg2.connect(self.settings["direct_dsn"], application_name="without-lull")
            self.connection.autocommit = True
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT title FROM articles WHERE id = %s", (self.article(),))
            cursor.fetchall()
        return "ok"
