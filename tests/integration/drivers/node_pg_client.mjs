import assert from 'node:assert/strict';
import fs from 'node:fs';
import readline from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { Readable, Writable } from 'node:stream';
import pg from 'pg';
import copy from 'pg-copy-streams';

const env = process.env;
const options = { host: 'localhost', port: Number(env.PORT), user: 'app', password: env.PASSWORD, database: 'shop',
  ssl: env.TLS === '1' ? { ca: fs.readFileSync(env.CA) } : false };
const db = new pg.Client(options);
await db.connect();
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const step = async (name) => { console.log(name); await lines.next(); };
const one = async (sql, values) => Object.values((await db.query(sql, values)).rows[0])[0];
const fails = async (sql) => { try { await db.query(sql); } catch (error) { return error.code; } return null; };

for (let n = 0; n < 20; n++) {
  const { rows } = await db.query({ name: 'twice', text: 'SELECT $1::int * 2 AS x', values: [n] });
  assert.equal(rows[0].x, 2 * n);
}
await db.query('BEGIN');
await db.query("INSERT INTO driver_rows VALUES ('node-pg', $1)", [1]);
await db.query('ROLLBACK');
assert.equal(await one("SELECT count(*)::int FROM driver_rows WHERE driver = 'node-pg'"), 0);
await db.query('BEGIN');
await db.query("INSERT INTO driver_rows VALUES ('node-pg', $1)", [1]);
await db.query('COMMIT');
await db.query('BEGIN');
assert.equal(await fails('SELECT 1 / 0'), '22012');
assert.equal(await fails('SELECT 1'), '25P02');
await db.query('ROLLBACK');
const rows = Array.from({ length: 1000 }, (_, n) => `node-pg\t${n}\n`);
await pipeline(Readable.from(rows), db.query(copy.from('COPY driver_rows FROM STDIN')));
let text = '';
await pipeline(db.query(copy.to("COPY (SELECT * FROM driver_rows WHERE driver = 'node-pg') TO STDOUT")),
  new Writable({ write(chunk, _, done) { text += chunk; done(); } }));
assert.equal(text.split('\n').length - 1, 1001);
const heard = new Promise((resolve) => db.once('notification', resolve));
await db.query('LISTEN "node-pg"');
const speaker = new pg.Client(options);
await speaker.connect();
await speaker.query("SELECT pg_notify('node-pg', 'hello')");
const { channel, payload } = await heard;
assert.deepEqual([channel, payload], ['node-pg', 'hello']);
await speaker.end();
await db.query('UNLISTEN *');
const canceller = new pg.Client(options);
setTimeout(() => canceller.cancel(db, db.activeQuery ?? db._activeQuery), 500);
assert.equal(await fails('SELECT pg_sleep(30)'), '57014');
await step('restart');
assert.equal(await one('SELECT 1 AS x'), 1);
await step('seal');
assert.equal(await one("SELECT count(*)::int FROM driver_rows WHERE driver = 'node-pg'"), 1001);
assert.equal(await fails("INSERT INTO driver_rows VALUES ('node-pg', 2)"), '25006');
await step('open');
await db.query("INSERT INTO driver_rows VALUES ('node-pg', $1)", [2]);
console.log('done');
process.exit(0);
