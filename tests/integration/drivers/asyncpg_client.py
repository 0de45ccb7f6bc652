import asyncio
import os
import ssl
import sys

import asyncpg


async def step(name):
    print(name, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def main():
    tls = ssl.create_default_context(cafile=os.environ["CA"]) if os.environ["TLS"] == "1" else False
    def connect():
        return asyncpg.connect(host="localhost", port=int(os.environ["PORT"]), user="app", password=os.environ["PASSWORD"],
                               database="shop", ssl=tls)

    db = await connect()

    async def fails(sql, **more):
        try:
            await db.execute(sql, **more)
        except asyncpg.PostgresError as error:
            return error.sqlstate
        return None

    twice = await db.prepare("SELECT $1::int * 2")
    assert [await twice.fetchval(n) for n in range(20)] == [2 * n for n in range(20)]
    for n in range(20):  # its own cache of prepared statements
        assert await db.fetchval("SELECT $1::text", str(n)) == str(n)
    transaction = db.transaction()
    await transaction.start()
    await db.execute("INSERT INTO driver_rows VALUES ('asyncpg', $1)", 1)
    await transaction.rollback()
    assert await db.fetchval("SELECT count(*) FROM driver_rows WHERE driver = 'asyncpg'") == 0
    async with db.transaction():
        await db.execute("INSERT INTO driver_rows VALUES ('asyncpg', $1)", 1)
        rows = [row["n"] async for row in db.cursor("SELECT n FROM generate_series(1, 200) n")]
    assert rows == list(range(1, 201))
    transaction = db.transaction()
    await transaction.start()
    assert await fails("SELECT 1 / 0") == "22012"
    assert await fails("SELECT 1") == "25P02"
    await transaction.rollback()
    await db.copy_records_to_table("driver_rows", records=[("asyncpg", n) for n in range(1000)])
    with open(os.environ["FOLDER"] + "/rows", "wb") as rows:
        await db.copy_from_query("SELECT * FROM driver_rows WHERE driver = 'asyncpg'", output=rows)
    with open(os.environ["FOLDER"] + "/rows", "rb") as rows:
        assert len(rows.readlines()) == 1001
    heard = asyncio.get_running_loop().create_future()

    def hear(connection, pid, channel, payload):
        heard.set_result((channel, payload))

    await db.add_listener("asyncpg", hear)
    speaker = await connect()
    await speaker.execute("SELECT pg_notify('asyncpg', 'hello')")
    assert await asyncio.wait_for(heard, 10) == ("asyncpg", "hello")
    await speaker.close()
    await db.remove_listener("asyncpg", hear)
    try:
        await asyncio.wait_for(db.execute("SELECT pg_sleep(30)"), 0.5)  # cancels by a CancelRequest
        raise AssertionError("not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await db.fetchval("SELECT 1") == 1
    await step("restart")
    assert await db.fetchval("SELECT 1") == 1
    await step("seal")
    assert await db.fetchval("SELECT count(*) FROM driver_rows WHERE driver = $1", "asyncpg") == 1001
    assert await fails("INSERT INTO driver_rows VALUES ('asyncpg', 2)") == "25006"
    await step("open")
    await db.execute("INSERT INTO driver_rows VALUES ('asyncpg', $1)", 2)
    print("done")


asyncio.run(main())
