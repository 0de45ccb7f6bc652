"""The operator: closes and opens the site as planned, whatever dies meanwhile, and has each window looked at."""
import http.client
import threading
import time

import psycopg

from harness.wait import wait_for


class Operator(threading.Thread):
    def __init__(self, lull, judge, plan, owner_password):
        super().__init__(name="operator", daemon=True)
        self.lull, self.judge, self.plan, self.owner_password = lull, judge, plan, owner_password
        self.stop = threading.Event()
        self.violations = []
        self.counts = {"flips": 0, "not entered": 0, "sealed": 0}
        self.migrated = []      # tokens of the migration that were acknowledged
        self.entering, self.sealed = threading.Event(), threading.Event()
        self.problem = None

    def run(self):
        try:
            for flip in self.plan.flips:
                if self.stop.wait(flip.gap):
                    return
                self.flip(flip)
        except Exception as error:  # noqa: BLE001 -- told by the round
            self.problem = error

    def ask(self, method, path, body=None):
        """None: Lull is not there, or went away before it answered."""
        try:
            return self.lull.admin(method, path, body, timeout=40)
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def site(self):
        """As Lull says, when it says something."""
        answer = wait_for(lambda: self.ask("GET", "/sites/shop"), "Lull answers", 60)
        assert answer[0] == 200, answer
        return answer[1]

    def flip(self, flip):
        self.counts["flips"] += 1
        self.entering.set()
        self.ask("PUT", "/sites/shop/maintenance",
                 {"reason": "torture", "on_deadline": flip.on_deadline, "drain_timeout_ms": flip.drain_ms,
                  "freeze": flip.freeze, "wait_ms": 15000})
        site = self.settled()
        self.entering.clear()
        if site["mode"] != "sealed":
            self.counts["not entered"] += 1
            return self.open()
        self.counts["sealed"] += 1
        fenced = site["fence"]["state"] == "up"
        if self.plan.fence and not fenced:
            self.violations.append(("sealed without its fence", f"the fence is {site['fence']}"))
        window = self.judge.open_window(site["sealed_lsn"], site["state"] == "frozen", fenced)
        self.sealed.set()
        until = time.monotonic() + flip.hold
        for turn in range(flip.migrations):
            self.migrate(f"{self.counts['flips']:03d}-{turn:06d}-migr")
        self.stop.wait(max(0.0, until - time.monotonic()))
        self.sealed.clear()
        mode = self.site()["mode"]
        if mode != "sealed":
            self.violations.append(("reopened by itself", f"a sealed window is {mode}, and nobody has opened it"))
        self.judge.close_window(window)
        self.open()
        proof = self.ask("GET", "/sites/shop/verify")
        if proof is not None and proof[0] == 200 and proof[1]["window"]["sealed_lsn"] == window.sealed_lsn:
            window.verdict = proof[1]["verdict"]
        self.judge.read_log(window)

    def settled(self):
        """What became of entering: sealed and proved, open, or neither after a long wait."""
        until = time.monotonic() + 20
        while True:
            site = self.site()
            if site["state"] in ("sealed", "frozen", "read_write") or time.monotonic() > until:
                return site if site["state"] in ("sealed", "frozen") else dict(site, mode="not entered")
            time.sleep(0.02)

    def open(self):
        def opened():
            self.ask("DELETE", "/sites/shop/maintenance?wait_ms=5000")
            return self.site()["mode"] == "read_write"

        wait_for(opened, "the site is open again", 90, 0.05)

    def migrate(self, token):
        try:
            with psycopg.connect(host="127.0.0.1", port=self.lull.migration_port, user="shop_owner", password=self.owner_password,
                                 dbname="shop", connect_timeout=5, prepare_threshold=None) as connection:
                connection.execute(f"INSERT INTO ledger (token) VALUES ('{token}')")
                connection.commit()
            self.migrated.append(token)
        except psycopg.Error:
            pass  # something was killed; what was not acknowledged is not promised
