"""A process with some of the clients:

    clients.py '{"port": ..., "user": ..., "password": ..., "seed": ..., "numbers": [first, behind the last], "seconds": ...}'

With `"outsiders": true` they come past Lull: the port is the primary's own.

Every write has a token. Its outcome, as far as the client can know it:
    acknowledged  the server said that it is committed: it must be found, once
    never         the client was told that it failed, or never asked for its COMMIT: it must not be found
    unknown       the connection broke, or the answer left it open: it may be found, once
Everything is printed as one JSON object at the end."""
import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.wire import (Closed, Wire, bind, copy_data, copy_done, copy_fail, errors, execute, parse, query,  # noqa: E402
                          rows, statuses, sync, tags)

# Refusals of a closed site, and of the block that one of them has ended.
REFUSED = {"25006", "25P02"}
ITEMS = 100


class Books:
    def __init__(self):
        self.outcomes = {}      # token -> outcome
        self.operations = {}    # kind -> how many
        self.reads, self.failed_reads = 0, []
        self.errors = {}        # SQLSTATE and message -> how many
        self.wrong = []         # answers that no server gives
        self.connections = 0


class Client:
    def __init__(self, number, arguments):
        self.number, self.arguments = number, arguments
        self.dice = random.Random(f"client {arguments['seed']} {number}")
        self.kind = outsiders if arguments.get("outsiders") else KINDS[number % len(KINDS)]
        self.books = Books()
        self.count = 0
        self.wire = None
        self.until = arguments["until"]

    # -- the ledger -------------------------------------------------------------------------------------------------

    def token(self, outcome="unknown", mark=None):
        """Of something that is about to be sent: until the answer is there nobody knows. `mark`: four letters."""
        self.count += 1
        token = f"{self.number:03d}-{self.count:06d}-{mark or self.kind.__name__[:4]}"
        self.books.outcomes[token] = outcome
        return token

    def settle(self, tokens, outcome):
        for token in tokens:
            self.books.outcomes[token] = outcome

    def judged(self, answer, tokens):
        """One transaction that is over with this answer."""
        codes = self.codes(answer)
        if not codes:
            self.settle(tokens, "acknowledged")
        elif codes <= REFUSED:
            self.settle(tokens, "never")
        return codes

    def codes(self, answer):
        for error in errors(answer):
            what = error["C"] + ("" if error["C"] in REFUSED else " " + error["M"][:60])
            self.books.errors[what] = self.books.errors.get(what, 0) + 1
        return {error["C"] for error in errors(answer)}

    # -- its life ---------------------------------------------------------------------------------------------------

    def run(self):
        while time.time() < self.until:
            try:
                if self.wire is None:
                    self.wire = Wire("127.0.0.1", self.arguments["port"], 25)
                    self.wire.login(self.arguments["user"], self.arguments["password"], "shop", application_name=f"{self.kind.__name__} {self.number}")
                    self.prepared = False
                    self.books.connections += 1
                if self.kind is not outsiders and self.dice.random() < 0.4:
                    self.read()
                else:
                    name = self.kind.__name__
                    self.books.operations[name] = self.books.operations.get(name, 0) + 1
                    self.kind(self)
                time.sleep(self.dice.uniform(0, self.arguments["pause"]))
            except (Closed, OSError, RuntimeError, AssertionError) as error:
                if isinstance(error, AssertionError):
                    self.books.wrong.append(f"{self.number}: {error}")
                self.leave()
                time.sleep(0.05)
        self.leave()

    def leave(self):
        if self.wire is not None:
            self.wire.close()
            self.wire = None

    def read(self):
        began = time.time()
        self.books.reads += 1
        try:
            answer = self.wire.query("SELECT count(*) FROM items")
        except (Closed, OSError) as error:
            self.books.failed_reads.append([began, time.time(), repr(error)])
            raise
        if self.codes(answer):
            self.books.failed_reads.append([began, time.time(), f"{self.number} {self.kind.__name__}: {str(errors(answer)[0])[:200]}"])
        elif rows(answer) != [(str(ITEMS),)]:
            self.books.wrong.append(f"{self.number}: a read saw {rows(answer)}")

    def insert(self, token):
        """SQL of one write, of which some take a while."""
        if self.dice.random() < 0.08:
            longest = 2.5 if self.dice.random() < 0.2 else 0.6
            return f"INSERT INTO ledger (token) SELECT '{token}' FROM pg_sleep({self.dice.uniform(0.05, longest):.2f})"
        return f"INSERT INTO ledger (token) VALUES ('{token}')"


# -- the eight kinds ------------------------------------------------------------------------------------------------------

def sly(c):
    """A function that leaves READ ONLY, where Lull's ROLLBACK alone is between it and a commit: behind a simple query, behind a
    Sync, and in the place of the client's COMMIT. In a closed site it seems to work and is undone, so it promises nothing."""
    mark = c.dice.choice(["slya", "slys", "slyb"])
    token = c.token(mark=mark)
    if mark == "slya":
        c.codes(c.wire.query(f"SELECT sly('{token}')"))
    elif mark == "slys":
        c.codes(c.wire.extended("SELECT sly($1)", [token]))
    else:
        c.wire.query("BEGIN")
        c.codes(c.wire.query(f"SELECT sly('{token}')"))
        if statuses(c.wire.query("COMMIT"))[-1] != "I":
            c.wire.query("ROLLBACK")


def autocommit(c):
    choice = c.dice.random()
    if choice < 0.3:
        return sly(c)
    token = c.token()
    if choice < 0.4:
        simple = c.dice.random() < 0.5
        c.judged(c.wire.query(f"SELECT writes('{token}')") if simple else c.wire.extended("SELECT writes($1)", [token]), [token])
    elif choice < 0.65:
        c.judged(c.wire.extended("INSERT INTO ledger (token) VALUES ($1)", [token]), [token])
    else:
        c.judged(c.wire.query(c.insert(token)), [token])


def transactions(c):
    begin = c.dice.choice(["BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN READ WRITE"])
    if c.codes(c.wire.query(begin)):
        c.wire.query("ROLLBACK")
        return
    if c.dice.random() < 0.5:
        c.wire.query("SELECT count(*) FROM items")
    tokens = []
    for turn in range(c.dice.randrange(1, 4)):
        undone = c.dice.random() < 0.2
        token = c.token("never")  # as long as no COMMIT is sent
        texts = ["SAVEPOINT a", c.insert(token), "ROLLBACK TO a"] if undone else [c.insert(token)]
        tokens += [] if undone else [token]
        for text in texts:
            if c.codes(c.wire.query(text)):
                c.wire.query("ROLLBACK")
                return
        if c.dice.random() < 0.2:
            time.sleep(c.dice.uniform(0, 0.3))
    if c.dice.random() < 0.15:
        c.wire.query("ROLLBACK")
        return
    c.settle(tokens, "unknown")
    chain = c.dice.random() < 0.1
    answer = c.wire.query("COMMIT AND CHAIN" if chain else "COMMIT")
    if tags(answer) == ["ROLLBACK"]:
        c.settle(tokens, "never")
    else:
        c.judged(answer, tokens)
    if chain:
        token = c.token("never")
        c.codes(c.wire.query(c.insert(token)))
        c.wire.query("ROLLBACK")


def pipelines(c):
    def step(sql, values=()):
        return parse("", sql) + bind("", "", values) + execute()

    count = c.dice.randrange(1, 5)
    tokens = [c.token() for _ in range(count)]
    write = "INSERT INTO ledger (token) VALUES ($1)"
    if c.dice.random() < 0.5:  # one transaction
        answer = c.wire.ask(step("BEGIN"), *[step(write, [token]) for token in tokens], step("COMMIT"), sync())
        c.judged(answer, tokens)
        if statuses(answer)[-1] != "I":
            c.wire.query("ROLLBACK")
        return
    # Each its own, and nobody waits for the one before.
    c.wire.send(*[step(write, [token]) + step("SELECT 1") + sync() for token in tokens])
    for token in tokens:
        c.judged(c.wire.until("Z"), [token])


def prepared(c):
    if not c.prepared:
        c.prepared = not c.codes(c.wire.ask(parse("w", "INSERT INTO ledger (token) VALUES ($1)"),
                                            parse("r", "SELECT count(*) FROM items WHERE id <= $1"), sync()))
        return
    if c.dice.random() < 0.3:
        answer = c.wire.ask(bind("", "r", [50]), execute(), sync())
        assert errors(answer) or rows(answer) == [("50",)], f"a prepared read saw {rows(answer)}"
    token = c.token()
    answer = c.wire.ask(bind("", "w", [token]), execute(), sync())
    assert "26000" not in c.judged(answer, [token]), "a prepared statement is gone"


def copies(c):
    tokens = [c.token() for _ in range(c.dice.randrange(1, 6))]
    if c.dice.random() < 0.2:
        c.settle(tokens, "never")
    c.wire.send(query(f"COPY ledger (token) FROM STDIN /* {' '.join(tokens)} */"))
    answer = c.wire.until("GZ")
    if answer[-1].type == "Z":
        return c.judged(answer, tokens)
    for token in tokens:
        c.wire.send(copy_data(f"{token}\n".encode()))
        if c.dice.random() < 0.1:
            time.sleep(c.dice.uniform(0, 0.4))
    gives_up = c.books.outcomes[tokens[0]] == "never"
    answer = c.wire.ask(copy_fail("changed my mind") if gives_up else copy_done())
    if not gives_up:
        c.judged(answer, tokens)


def procedures(c):
    first, second = c.token(), c.token()
    answer = c.wire.query(f"CALL two_commits('{first}', '{second}', {c.dice.choice([0, 0, 0.05, 0.3])})")
    c.judged(answer, [first, second])


def texts(c):
    first, second = c.token(), c.token()
    a, b = c.insert(first), c.insert(second)
    choice = c.dice.randrange(4)
    if choice == 0:
        c.judged(c.wire.query(f"{a}; {b}"), [first, second])  # one transaction
    elif choice == 1:
        c.judged(c.wire.query(f"BEGIN; SELECT 1; {a}; {b}; COMMIT"), [first, second])
    elif choice == 2:
        answer = c.wire.query(f"BEGIN; {a}; COMMIT; {b}")
        if "COMMIT" in tags(answer):
            c.settle([first], "acknowledged")
            c.judged(answer, [second])
        else:
            c.judged(answer, [first, second])
    else:
        c.settle([first, second], "never")
        answer = c.wire.query(f"BEGIN; {a}")
        if not c.codes(answer):
            c.settle([first, second], "unknown")
            c.judged(c.wire.query(f"{b}; COMMIT"), [first, second])
    if statuses(answer if choice > 1 else c.wire.query("SELECT 1"))[-1] != "I" or choice > 1:
        c.wire.query("ROLLBACK")


def journaled(c):
    """While the site is closed these are answered when they are on Lull's disk, and are run once when it opens."""
    def write(token):
        if c.dice.random() < 0.5:
            return query(f"INSERT INTO ledger (token) VALUES ('{token}')")
        return parse("", "INSERT INTO ledger (token) VALUES ($1)") + bind("", "", [token]) + execute() + sync()

    tokens = [c.token() for _ in range(c.dice.choice([1, 1, 4]))]
    c.wire.send(*[write(token) for token in tokens])
    for token in tokens:
        c.judged(c.wire.until("Z"), [token])


def outsiders(c):
    """Nobody stops them but a fence."""
    token = c.token()
    if c.dice.random() < 0.5:
        c.judged(c.wire.query(f"INSERT INTO ledger (token) VALUES ('{token}')"), [token])
    else:
        c.settle([token], "never")
        c.wire.query("BEGIN")
        if not c.codes(c.wire.query(f"INSERT INTO ledger (token) VALUES ('{token}')")):
            time.sleep(c.dice.uniform(0, 0.8))
            c.settle([token], "unknown")
            c.judged(c.wire.query("COMMIT"), [token])
        else:
            c.wire.query("ROLLBACK")
    if c.dice.random() < 0.2:
        c.leave()


KINDS = [autocommit, transactions, pipelines, prepared, copies, procedures, texts, journaled]


def main():
    arguments = json.loads(sys.argv[1])
    arguments["until"] = time.time() + arguments["seconds"]
    clients = [Client(number, arguments) for number in range(*arguments["numbers"])]
    threads = [threading.Thread(target=client.run) for client in clients]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    json.dump([vars(client.books) for client in clients], sys.stdout)


if __name__ == "__main__":
    main()
