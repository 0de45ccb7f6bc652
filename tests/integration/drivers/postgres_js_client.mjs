import assert from 'node:assert/strict';
import fs from 'node:fs';
import readline from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import postgres from 'postgres';

const env = process.env;
const sql = postgres({ host: 'localhost', port: Number(env.PORT), user: 'app', password: env.PASSWORD, database: 'shop', max: 1,
  ssl: env.TLS === '1' ? { ca: fs.readFileSync(env.CA), servername: 'localhost' } : false });
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const step = async (name) => { console.log(name); await lines.next(); };
const code = async (query) => { try { await query; } catch (error) { return error.code; } return null; };
const count = async () => (await sql`SELECT count(*)::int AS n FROM driver_rows WHERE driver = 'postgres.js'`)[0].n;

for (let n = 0; n < 20; n++) assert.equal((await sql`SELECT ${n}::int * 2 AS x`)[0].x, 2 * n);
const results = await Promise.all(Array.from({ length: 50 }, (_, n) => sql`SELECT ${n}::int AS x`));  // pipelined
assert.deepEqual(results.map((rows) => rows[0].x), Array.from({ length: 50 }, (_, n) => n));
await sql.begin(async (tx) => { await tx`INSERT INTO driver_rows VALUES ('postgres.js', ${1})`; throw new Error('back'); })
  .catch((error) => assert.equal(error.message, 'back'));
assert.equal(await count(), 0);
await sql.begin(async (tx) => { await tx`INSERT INTO driver_rows VALUES ('postgres.js', ${1})`; });
const failed = await sql.begin(async (tx) => {
  assert.equal(await code(tx`SELECT 1 / ${0}::int`), '22012');
  assert.equal(await code(tx`SELECT 1`), '25P02');
  throw new Error('enough');
}).catch((error) => error.message);
assert.ok(failed);
assert.equal(await count(), 1);
const input = await sql`COPY driver_rows FROM STDIN`.writable();
await pipeline(Readable.from(Array.from({ length: 1000 }, (_, n) => `postgres.js\t${n}\n`)), input);
let text = '';
for await (const chunk of await sql`COPY (SELECT * FROM driver_rows WHERE driver = 'postgres.js') TO STDOUT`.readable()) text += chunk;
assert.equal(text.split('\n').length - 1, 1001);
const slow = sql`SELECT pg_sleep(30)`;
setTimeout(() => slow.cancel(), 500);
assert.equal(await code(slow), '57014');
await step('restart');
assert.equal((await sql`SELECT 1 AS x`)[0].x, 1);
await step('seal');
assert.equal(await count(), 1001);
assert.equal(await code(sql`INSERT INTO driver_rows VALUES ('postgres.js', ${2})`), '25006');
await step('open');
await sql`INSERT INTO driver_rows VALUES ('postgres.js', ${2})`;
console.log('done');
process.exit(0);
