#!/usr/bin/python3
"""The demo shop: a small web application as many are written, with nothing in it that knows Lull.

It keeps one database connection per thread and ordinary psycopg2 transactions. All it does for a read-only site is
what a good application does anyway: it looks at one request header and at one SQLSTATE (25006), leaves out the view
counter, and shows a notice instead of a form that would fail.

  app.py --port PORT --database DSN
"""

import argparse
import secrets
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg2
import psycopg2.errors
import psycopg2.extras

import pages

MAX_BODY = 64 * 1024
PAGE_SIZE = 24


class Database(threading.local):
    """One connection a thread; a broken one is dropped and made anew by the next request."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.connection = None

    def __enter__(self):
        """One transaction: BEGIN comes with the first statement, COMMIT or ROLLBACK at the end of the block."""
        if self.connection is None or self.connection.closed:
            self.connection = psycopg2.connect(self.dsn, cursor_factory=psycopg2.extras.RealDictCursor)
        self.connection.__enter__()
        return self.connection.cursor()

    def __exit__(self, kind, error, trace):
        try:
            return self.connection.__exit__(kind, error, trace)
        except psycopg2.Error:
            self.connection.close()
            raise


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120  # seconds that a kept connection may idle
    wbufsize = 64 * 1024  # head and page leave in one send; in two, Nagle's algorithm would hold the second back
    database = None  # set by main

    def do_GET(self):
        self.answer_with(self.get)

    do_HEAD = do_GET

    def do_POST(self):
        self.answer_with(self.post)

    def answer_with(self, handler):
        try:
            handler(urlsplit(self.path))
        except psycopg2.errors.ReadOnlySqlTransaction:
            self.send_page(503, pages.message("Not now", "The shop is being updated and takes no changes for a moment. "
                                                         "Please try again soon."), {"Retry-After": "5"})
        except Exception:
            traceback.print_exc()
            self.close_connection = True  # the body may be unread
            self.send_page(500, pages.message("Something went wrong", "The error has been logged."))

    def notice(self):
        """What the bar on top says, or None while the site may be changed."""
        if self.headers.get("X-Read-Only-Mode") != "1":
            return None
        text = "The shop is being updated. You can look at everything; comments open again when it is done."
        reason, until = self.headers.get("X-Read-Only-Reason"), self.headers.get("X-Read-Only-Until")
        return text + (f" Reason: {reason}." if reason else "") + (f" Expected end: {until[11:16]} UTC." if until else "")

    def get(self, url):
        parts = url.path.strip("/").split("/")
        if url.path == "/":
            page = parse_qs(url.query).get("page", ["1"])[0]
            self.article_list(min(int(page), 100_000) if page.isdecimal() and page != "0" else 1)
        elif parts[0] == "article" and len(parts) == 2 and parts[1].isdecimal() and len(parts[1]) < 10:
            self.article(int(parts[1]))
        elif url.path == "/healthz":
            self.send_page(200, "ok\n", content_type="text/plain")
        else:
            self.not_found()

    def post(self, url):
        form = self.read_form()
        parts = url.path.strip("/").split("/")
        if form is None:
            self.close_connection = True
            self.send_page(413, pages.message("Too much", "That form was larger than a form can be."))
        elif url.path == "/search":
            self.search(form.get("q", [""])[0].replace("\0", "")[:100])
        elif len(parts) == 3 and parts[0] == "article" and parts[1].isdecimal() and len(parts[1]) < 10 and parts[2] == "comments":
            self.add_comment(int(parts[1]), form)
        else:
            self.not_found()

    def article_list(self, page):
        with self.database as cursor:
            cursor.execute("SELECT * FROM articles WHERE id > %s ORDER BY id LIMIT %s", ((page - 1) * PAGE_SIZE, PAGE_SIZE))
            articles = cursor.fetchall()
        self.send_page(200, pages.article_list(articles, page, self.notice()))

    def search(self, query):
        pattern = "%" + query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        with self.database as cursor:
            cursor.execute("SELECT * FROM articles WHERE title ILIKE %s ORDER BY id LIMIT %s", (pattern, PAGE_SIZE))
            articles = cursor.fetchall()
        self.send_page(200, pages.search_results(query, articles, self.notice()))

    def article(self, number):
        with self.database as cursor:
            cursor.execute("SELECT * FROM articles WHERE id = %s", (number,))
            article = cursor.fetchone()
            cursor.execute("SELECT views, sold FROM article_counters WHERE article_id = %s", (number,))
            counters = cursor.fetchone()
            cursor.execute("SELECT author, body, written_at FROM comments WHERE article_id = %s ORDER BY id DESC LIMIT 20", (number,))
            comments = cursor.fetchall()
        if article is None:
            return self.not_found()
        notice = self.notice()
        if notice is None:
            try:
                with self.database as cursor:
                    cursor.execute("UPDATE article_counters SET views = views + 1 WHERE article_id = %s", (number,))
            except psycopg2.errors.ReadOnlySqlTransaction:
                # The site was closed between the browser's request and this statement. A view that is not counted
                # is no reason to break the page.
                notice = "The shop is being updated. You can look at everything; comments open again when it is done."
        self.send_page(200, pages.article(article, counters, comments, secrets.token_hex(12), notice))

    def add_comment(self, number, form):
        author, body, token = (form.get(name, [""])[0].replace("\0", "").strip() for name in ("author", "body", "token"))
        if not author or not body or len(author) > 80 or len(body) > 2000 or len(token) > 100:
            return self.send_page(400, pages.message("Nearly", "A comment needs a name (80 letters) and a text (2000 letters)."))
        try:
            with self.database as cursor:
                cursor.execute("INSERT INTO comments (article_id, author, body, token) VALUES (%s, %s, %s, %s)",
                               (number, author, body, token or secrets.token_hex(12)))
        except psycopg2.errors.ForeignKeyViolation:
            return self.not_found()
        self.send_page(303, "", {"Location": f"/article/{number}"})

    def not_found(self):
        self.send_page(404, pages.message("Not found", "There is no such page."))

    def read_form(self):
        """The form's fields, or None where the body is larger than allowed or of unknown length."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = self.read_chunks()
        else:
            length = self.headers.get("Content-Length", "0")
            body = self.rfile.read(int(length)) if length.isdecimal() and int(length) <= MAX_BODY else None
        return None if body is None else parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)

    def read_chunks(self):
        body = b""
        while size := int(self.rfile.readline(100).split(b";")[0], 16):
            if len(body) + size > MAX_BODY:
                return None
            body += self.rfile.read(size)
            self.rfile.readline(100)
        while self.rfile.readline(1000).strip():
            pass  # trailers
        return body

    def send_page(self, status, text, headers={}, content_type="text/html; charset=utf-8"):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        pass  # errors are logged, requests are counted by Lull


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True, help="libpq connection string")
    options = parser.parse_args()
    Shop.database = Database(options.database)
    Server(("127.0.0.1", options.port), Shop).serve_forever()


if __name__ == "__main__":
    main()
