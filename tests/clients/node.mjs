// All four types through pg and pgvector, with the statements that apps use.
import assert from 'node:assert/strict';
import pg from 'pg';
import pgvector from 'pgvector/pg';

const client = new pg.Client({ database: 'pgvector_node_test' });
await client.connect();
await client.query('CREATE EXTENSION IF NOT EXISTS vector');
await pgvector.registerTypes(client);

await client.query('DROP TABLE IF EXISTS items');
await client.query(
    'CREATE TABLE items (id serial PRIMARY KEY, embedding vector(3), half halfvec(3), bits bit(3), sparse sparsevec(3))');
const rows = [[[1, 1, 1], '000', '{1:1,2:1,3:1}/3'], [[2, 2, 2], '101', '{1:2,2:2,3:2}/3'], [[1, 1, 2], '111', '{1:1,2:1,3:2}/3']];
for (const [vector, bits, sparse] of rows) {
    await client.query('INSERT INTO items (embedding, half, bits, sparse) VALUES ($1, $2, $3, $4)',
        [pgvector.toSql(vector), pgvector.toSql(vector), bits, sparse]);
}
await client.query('INSERT INTO items (embedding) VALUES (NULL)');
for (const index of [
    'USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64)', 'USING hnsw (half halfvec_l2_ops)',
    'USING hnsw (bits bit_hamming_ops)', 'USING ivfflat (embedding vector_cosine_ops) WITH (lists = 1)',
]) {
    await client.query(`CREATE INDEX ON items ${index}`);
}
await client.query('SET hnsw.ef_search = 100');

const ids = async (order, parameter) =>
    (await client.query(`SELECT id FROM items ORDER BY ${order} LIMIT 5`, [parameter])).rows.map((row) => row.id);
assert.deepEqual((await ids('embedding <-> $1', pgvector.toSql([1, 1, 1]))).slice(0, 3), [1, 3, 2]);
assert.deepEqual((await ids('half <-> $1', pgvector.toSql([1, 1, 1]))).slice(0, 3), [1, 3, 2]);
assert.deepEqual((await ids('bits <~> $1', '101')).slice(0, 3), [2, 3, 1]);
assert.deepEqual((await ids('sparse <-> $1', '{1:1,2:1,3:1}/3')).slice(0, 3), [1, 3, 2]);

const { rows: [first] } = await client.query('SELECT * FROM items WHERE id = 1');
assert.deepEqual(first.embedding, [1, 1, 1]);
assert.deepEqual(first.half, [1, 1, 1]);
assert.equal(first.bits, '000');
assert.deepEqual([first.sparse.dimensions, first.sparse.toArray()], [3, [1, 1, 1]]);
const { rows: [last] } = await client.query('SELECT embedding FROM items WHERE id = 4');
assert.equal(last.embedding, null);
await assert.rejects(client.query('INSERT INTO items (embedding) VALUES ($1)', [pgvector.toSql([1, 2])]),
    /expected 3 dimensions, not 2/);
await client.end();
console.log('pgvector 0.3.0 for Node: passed');
