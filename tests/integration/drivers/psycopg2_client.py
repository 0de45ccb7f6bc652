import os
import sys
import threading

import psycopg2

tls = os.environ["TLS"] == "1"
connection = psycopg2.connect(host="localhost", port=os.environ["PORT"], user="app", password=os.environ["PASSWORD"], dbname="shop",
                              **(dict(sslmode="verify-full", sslrootcert=os.environ["CA"]) if tls else dict(sslmode="disable")))
connection.autocommit = True
cursor = connection.cursor()


def step(name):
    print(name, flush=True)
    sys.stdin.readline()


def one(sql, values=None):
    cursor.execute(sql, values)
    return cursor.fetchone()[0]


def fails(sql):
    try:
        cursor.execute(sql)
    except psycopg2.Error as error:
        return error.pgcode
    return None


cursor.execute("PREPARE twice AS SELECT $1::int * 2")  # the driver itself has no prepared statements
assert [one("EXECUTE twice(%s)", (n,)) for n in range(20)] == [2 * n for n in range(20)]
connection.autocommit = False
cursor.execute("INSERT INTO driver_rows VALUES ('psycopg2', 1)")
connection.rollback()
assert one("SELECT count(*) FROM driver_rows WHERE driver = 'psycopg2'") == 0
cursor.execute("INSERT INTO driver_rows VALUES ('psycopg2', 1)")
connection.commit()
assert fails("SELECT 1 / 0") == "22012"
assert fails("SELECT 1") == "25P02"
connection.rollback()
connection.autocommit = True
assert one("SELECT count(*) FROM driver_rows WHERE driver = 'psycopg2'") == 1
with open(os.environ["FOLDER"] + "/rows", "w+") as rows:
    rows.writelines(f"psycopg2\t{n}\n" for n in range(1000))
    rows.seek(0)
    cursor.copy_expert("COPY driver_rows FROM STDIN", rows)
with open(os.environ["FOLDER"] + "/rows", "w+") as rows:
    cursor.copy_expert("COPY (SELECT * FROM driver_rows WHERE driver = 'psycopg2') TO STDOUT", rows)
    rows.seek(0)
    assert len(rows.readlines()) == 1001
threading.Timer(0.5, connection.cancel).start()
assert fails("SELECT pg_sleep(30)") == "57014"
cursor.execute("DISCARD ALL")  # who has something on its server ends with it, as with PostgreSQL
step("restart")
assert one("SELECT 1") == 1
step("seal")
assert one("SELECT count(*) FROM driver_rows WHERE driver = 'psycopg2'") == 1001
assert fails("INSERT INTO driver_rows VALUES ('psycopg2', 2)") == "25006"
step("open")
cursor.execute("INSERT INTO driver_rows VALUES ('psycopg2', 2)")
print("done")
