import os
import sys
import threading

import psycopg

tls = os.environ["TLS"] == "1"
connection = psycopg.connect(host="localhost", port=os.environ["PORT"], user="app", password=os.environ["PASSWORD"], dbname="shop",
                             prepare_threshold=1, autocommit=True,
                             **(dict(sslmode="verify-full", sslrootcert=os.environ["CA"]) if tls else dict(sslmode="disable")))


def step(name):
    print(name, flush=True)
    sys.stdin.readline()


def one(sql, values=None):
    return connection.execute(sql, values).fetchone()[0]


def fails(sql):
    try:
        connection.execute(sql)
    except psycopg.Error as error:
        return error.sqlstate
    return None


assert [one("SELECT %s::int * 2", (n,)) for n in range(20)] == [2 * n for n in range(20)]
try:
    with connection.transaction():
        connection.execute("INSERT INTO driver_rows VALUES ('psycopg3', 1)")
        raise psycopg.Rollback()
except psycopg.Rollback:
    pass
assert one("SELECT count(*) FROM driver_rows WHERE driver = 'psycopg3'") == 0
with connection.transaction():
    connection.execute("INSERT INTO driver_rows VALUES ('psycopg3', %s)", (1,))
connection.execute("BEGIN")
assert fails("SELECT 1 / 0") == "22012"
assert fails("SELECT 1") == "25P02"
connection.execute("ROLLBACK")
assert one("SELECT count(*) FROM driver_rows WHERE driver = 'psycopg3'") == 1
with connection.pipeline():
    cursors = [connection.execute("SELECT %s::int", (n,)) for n in range(50)]
assert [cursor.fetchone()[0] for cursor in cursors] == list(range(50))
with connection.cursor().copy("COPY driver_rows FROM STDIN") as copy:
    for n in range(1000):
        copy.write_row(("psycopg3", n))
with connection.cursor().copy("COPY (SELECT * FROM driver_rows WHERE driver = 'psycopg3') TO STDOUT") as copy:
    assert len(list(copy.rows())) == 1001
connection.execute("LISTEN psycopg3")
with psycopg.connect(connection.info.dsn, password=os.environ["PASSWORD"], autocommit=True) as speaker:
    speaker.execute("SELECT pg_notify('psycopg3', 'hello')")
    heard = next(connection.notifies())
    assert (heard.channel, heard.payload) == ("psycopg3", "hello")
connection.execute("UNLISTEN *")
threading.Timer(0.5, connection.cancel).start()
assert fails("SELECT pg_sleep(30)") == "57014"
step("restart")
assert one("SELECT 1") == 1
step("seal")
assert one("SELECT count(*) FROM driver_rows WHERE driver = 'psycopg3'") == 1001
assert fails("INSERT INTO driver_rows VALUES ('psycopg3', 2)") == "25006"
step("open")
connection.execute("INSERT INTO driver_rows VALUES ('psycopg3', 2)")
print("done")
