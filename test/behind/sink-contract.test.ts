import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postgresSink, type Claim, type Mark, type Sink, type SinkBatch } from '../../src/index.js'
import { sinkContract, type SinkUnderTest } from '../../src/testing/index.js'
import { startWorld, type World } from './support.js'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.[Symbol.asyncDispose]())

const one = async (text: string, values: unknown[]): Promise<Record<string, unknown> | undefined> =>
  (await world.pool.query(text, values)).rows[0]

describe('postgresSink of numbers', () => {
  const make = async (): Promise<SinkUnderTest<number, number>> => {
    await world.reset('DROP TABLE IF EXISTS numbers; CREATE TABLE numbers (id int PRIMARY KEY, n bigint)')
    const sink = postgresSink<number, number>(world.pool, { table: 'numbers', key: 'id', value: 'n' })
    await sink.migrate()
    const read = async (id: number): Promise<number | undefined> => {
      const row = await one('SELECT n FROM numbers WHERE id = $1', [id])
      return row && Number(row['n'])
    }
    return { sink, ids: [1, 2, 3], values: [10, 20], read, poison: 1.5 }
  }
  for (const { name, run } of sinkContract(make)) it(name, run)
})

describe('postgresSink of rows of many types, with a key of two columns', () => {
  interface Row {
    readonly body: string | null
    readonly at: Date
    readonly data: unknown
    readonly labels: readonly string[]
    readonly bytes: Uint8Array
    readonly big: bigint
  }
  const values: [Row, Row] = [
    {
      body: 'a "quoted", {braced} \\ text\nof two lines',
      at: new Date('2026-01-02T03:04:05.678Z'),
      data: { list: [1, null, 'x'] },
      labels: ['a', 'with, comma', 'with "quote"', ''],
      bytes: Buffer.from([0, 1, 255]),
      big: 9_007_199_254_740_993n
    },
    { body: null, at: new Date(0), data: 'text', labels: [], bytes: Buffer.alloc(0), big: 0n }
  ]
  const make = async (): Promise<SinkUnderTest<{ shop: string; id: number }, Row>> => {
    await world.reset(`DROP TABLE IF EXISTS wide; CREATE TABLE wide (shop text, id int, body varchar(60),
      at timestamptz, data jsonb, labels text[], bytes bytea, big bigint, PRIMARY KEY (shop, id))`)
    const columns = ['body', 'at', 'data', 'labels', 'bytes', 'big']
    const sink = postgresSink<{ shop: string; id: number }, Row>(world.pool, {
      table: 'public.wide',
      key: ['shop', 'id'],
      columns,
      schema: 'books'
    })
    await world.pool.query('DROP SCHEMA IF EXISTS books CASCADE')
    await sink.migrate()
    const read = async ({ shop, id }: { shop: string; id: number }): Promise<unknown> => {
      const row = await one(
        'SELECT body, at, data, labels, bytes, big FROM wide WHERE shop = $1 AND id = $2',
        [shop, id]
      )
      return row && { ...row, big: BigInt(String(row['big'])) }
    }
    const ids = [1, 2, 3].map((id) => ({ shop: "o'neill", id }))
    return { sink, ids, values, read, poison: { ...values[0], body: 'x'.repeat(61) } }
  }
  for (const { name, run } of sinkContract(make)) it(name, run)
})

describe('postgresSink of events', () => {
  const make = async (): Promise<SinkUnderTest<never, { text: string }>> => {
    await world.reset('DROP TABLE IF EXISTS happened; CREATE TABLE happened (text text NOT NULL)')
    const sink = postgresSink<never, { text: string }>(world.pool, { table: 'happened', columns: ['text'] })
    await sink.migrate()
    const events = async (): Promise<readonly unknown[]> =>
      (await world.pool.query('SELECT text FROM happened')).rows
    return { sink, ids: [], values: [{ text: 'a' }, { text: 'b' }], events, poison: { text: 'nul \0 byte' } }
  }
  for (const { name, run } of sinkContract(make)) it(name, run)
})

describe('postgresSink with a version', () => {
  it('never lets an older row take the place of a newer one (#78)', async () => {
    await world.reset(
      'DROP TABLE IF EXISTS numbered; CREATE TABLE numbered (id int PRIMARY KEY, name text, version int)'
    )
    const sink = postgresSink<number, { name: string; version: number }>(world.pool, {
      table: 'numbered',
      key: 'id',
      columns: ['name', 'version'],
      version: 'version'
    })
    await sink.migrate()
    await world.pool.query("INSERT INTO numbered VALUES (1, 'by hand', 5)")
    const { epoch } = await sink.take('s')
    const put = (id: number, name: string, version: number) =>
      ({ kind: 'put', id, tenant: undefined, value: { name, version }, replaces: false }) as const
    await sink.apply({
      shard: 's',
      epoch,
      operations: [put(1, 'older', 4), put(2, 'new', 1)],
      marks: new Map()
    })
    await sink.apply({ shard: 's', epoch, operations: [put(2, 'newer', 2)], marks: new Map() })
    const { rows } = await world.pool.query('SELECT name FROM numbered ORDER BY id')
    expect(rows).toEqual([{ name: 'by hand' }, { name: 'newer' }])
  })
})

describe('a table that does not fit', () => {
  it('is refused with the index that it lacks', async () => {
    await world.reset('DROP TABLE IF EXISTS loose; CREATE TABLE loose (id int, n int)')
    const sink = postgresSink(world.pool, { table: 'loose', key: 'id', value: 'n' })
    await sink.migrate()
    await expect(sink.check()).rejects.toThrow('CREATE UNIQUE INDEX CONCURRENTLY ON "loose" ("id")')
  })
})

/** A sink that forgets to fence: the contract must not let it pass. */
class Unfenced implements Sink<number, number> {
  readonly name = 'unfenced'
  readonly kinds = ['put'] as const
  readonly rows = new Map<number, number>()
  #epoch = 0
  #marks = new Map<string, Mark>()
  async check(): Promise<void> {}
  async take(): Promise<Claim> {
    return { epoch: ++this.#epoch, marks: this.#marks }
  }
  async apply({ operations, marks }: SinkBatch<number, number>): Promise<'applied'> {
    for (const operation of operations)
      if (operation.kind === 'put') this.rows.set(operation.id, operation.value)
    this.#marks = new Map([...this.#marks, ...marks])
    return 'applied'
  }
  isPoison(): boolean {
    return false
  }
}

describe('the contract', () => {
  it('fails a sink without a fence', async () => {
    const make = async (): Promise<SinkUnderTest<number, number>> => {
      const sink = new Unfenced()
      return { sink, ids: [1, 2, 3], values: [1, 2], read: async (id) => sink.rows.get(id) }
    }
    const failed: string[] = []
    for (const { name, run } of sinkContract(make)) await run().catch(() => failed.push(name))
    expect(failed).toContain('refuses a batch of an older epoch, and changes nothing')
  })
})
