import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  postgresSink,
  writeBehind,
  type BehindOptions,
  type Cache,
  type CacheId,
  type Collection,
  type PostgresSink
} from '../../src/index.js'
import { until } from '../support/until.js'
import { startWorld, type World } from './support.js'

/*
 * What a table, an id or a value can be like that was not thought of when the collection was made. In each case the
 * operation that cannot be applied as it is must not keep the others from their table, nor come to something else.
 */

let world: World

beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** A sink into an empty table with a column `n` of such a type; `also` is run on it. */
async function sinkOf(type: string, also = ''): Promise<PostgresSink> {
  await world.reset(
    `DROP TABLE IF EXISTS things CASCADE; CREATE TABLE things (id text PRIMARY KEY, n ${type}); ${also}`
  )
  const sink = postgresSink(world.pool, { table: 'things', key: 'id', value: 'n' })
  await sink.migrate()
  return sink
}

function open(sink: PostgresSink): { cache: Cache; things: Collection<number | string, number> } {
  const cache = world.open()
  const things = cache.collection<number | string, number>('things', {
    ttl: '1h',
    load: async (id) => {
      const { rows } = await world.pool.query('SELECT n FROM things WHERE id = $1', [String(id)])
      return rows[0] && Number(rows[0].n)
    },
    write: writeBehind<CacheId, number>({
      sink: sink as PostgresSink<CacheId, number>,
      flushEvery: '50ms',
      shards: 1
    })
  })
  return { cache, things }
}

const table = async (): Promise<unknown[]> =>
  (await world.pool.query('SELECT id, n::text FROM things ORDER BY id')).rows

describe('two ids that name one row', () => {
  it('are written one after the other, and hold up nothing', async () => {
    const { cache, things } = open(await sinkOf('bigint'))
    await Promise.all([things.put(1, 5), things.put('1', 6), things.put(2, 7)])
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([
      { id: '1', n: '6' },
      { id: '2', n: '7' }
    ])
    expect(await cache.deadLetters.list()).toEqual([])
  })
})

describe('what a trigger refuses', () => {
  it('is put aside, whatever code it gives', async () => {
    const refusing = `
      CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      DECLARE
        nobody int;
      BEGIN
        IF NEW.n = 13 THEN RAISE EXCEPTION 'not thirteen' USING ERRCODE = 'SH013'; END IF;
        IF NEW.n = 14 THEN SELECT 1 INTO STRICT nobody WHERE false; END IF;
        RETURN NEW;
      END $$;
      CREATE TRIGGER refusing BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION refuse()`
    const { cache, things } = open(await sinkOf('bigint', refusing))
    await Promise.all([things.put('a', 13), things.put('b', 14), things.put('c', 15)])
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([{ id: 'c', n: '15' }])
    const letters = await cache.deadLetters.list()
    expect(new Map(letters.map(({ id, code }) => [id, code]))).toEqual(
      new Map([
        ['a', 'SH013'],
        ['b', 'P0002']
      ])
    )
  })

  it('is put aside also when nothing is raised, but its function meets what it was not made for', async () => {
    const failing = `
      CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        CASE NEW.n WHEN 1, 2, 3 THEN NULL; END CASE;
        IF NEW.n <> 2 THEN
          PERFORM CASE WHEN NEW.n = 3 THEN descend(NEW.n) END;
          RETURN NEW;
        END IF;
      END $$;
      CREATE OR REPLACE FUNCTION descend(n bigint) RETURNS bigint LANGUAGE plpgsql AS
        'BEGIN RETURN descend(n); END';
      CREATE TRIGGER failing BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION fail()`
    const { cache, things } = open(await sinkOf('bigint', failing))
    await Promise.all([1, 2, 3, 4].map((n) => things.put(n, n)))
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([{ id: '1', n: '1' }])
    const letters = await cache.deadLetters.list()
    expect(new Map(letters.map(({ id, code }) => [id, code]))).toEqual(
      new Map([
        [2, '2F005'],
        [3, '54001'],
        [4, '20000']
      ])
    )
  })

  it('is tried again when its code says that another attempt may pass', async () => {
    const waiting = `
      CREATE TABLE IF NOT EXISTS gate (open boolean); DELETE FROM gate;
      CREATE OR REPLACE FUNCTION wait_for_gate() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF NOT EXISTS (SELECT FROM gate) THEN RAISE EXCEPTION 'later' USING ERRCODE = '55P03'; END IF;
        RETURN NEW;
      END $$;
      CREATE TRIGGER waiting BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION wait_for_gate()`
    const { cache, things } = open(await sinkOf('bigint', waiting))
    await things.put('a', 1)
    const failed = new Promise((resolve) => cache.on('flushFailed', resolve))
    cache.worker()
    await failed
    await world.pool.query('INSERT INTO gate VALUES (true)')
    await cache.flush()
    expect(await table()).toEqual([{ id: 'a', n: '1' }])
    expect(await cache.deadLetters.list()).toEqual([])
  })
})

describe('a text that its column cannot parse', () => {
  it('is put aside alone', async () => {
    const { cache, things } = open(await sinkOf('tsquery'))
    await Promise.all([things.put('a', 'cat &' as never), things.put('b', 'cat & dog' as never)])
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([{ id: 'b', n: "'cat' & 'dog'" }])
    expect(await cache.deadLetters.list()).toMatchObject([{ id: 'a', code: '42601' }])
  })
})

describe('a value that its type refuses under a code that tells nothing', () => {
  // As the types of PostGIS refuse what is no geometry.
  const kind = `
    CREATE OR REPLACE FUNCTION is_place(text) RETURNS boolean LANGUAGE sql STABLE AS
      $$ SELECT $1 <> 'nowhere' OR pg_describe_object(length($1)::oid, 1, 1) IS NOT NULL $$;
    DROP DOMAIN IF EXISTS place CASCADE; CREATE DOMAIN place AS text CHECK (is_place(VALUE))`

  it('is put aside alone', async () => {
    await world.pool.query(kind)
    const { cache, things } = open(await sinkOf('place'))
    await Promise.all(['here', 'nowhere', 'there'].map((n) => things.put(n, n as never)))
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([
      { id: 'here', n: 'here' },
      { id: 'there', n: 'there' }
    ])
    expect(await cache.deadLetters.list()).toMatchObject([{ id: 'nowhere', code: 'XX000' }])
  })

  it('is tried again when it is not the value', async () => {
    const failing = `
      CREATE TABLE IF NOT EXISTS gate (open boolean); DELETE FROM gate;
      CREATE OR REPLACE FUNCTION wait_for_gate() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF NOT EXISTS (SELECT FROM gate) THEN PERFORM pg_describe_object(1, 1, 1); END IF;
        RETURN NEW;
      END $$;
      CREATE TRIGGER waiting BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION wait_for_gate()`
    const { cache, things } = open(await sinkOf('bigint', failing))
    await things.put('a', 1)
    const failed = new Promise((resolve) => cache.on('flushFailed', ({ error }) => resolve(error)))
    cache.worker()
    expect(await failed).toMatchObject({ code: 'XX000' })
    await world.pool.query('INSERT INTO gate VALUES (true)')
    await cache.flush()
    expect(await table()).toEqual([{ id: 'a', n: '1' }])
    expect(await cache.deadLetters.list()).toEqual([])
  })

  it('is tried again when it is a pooler that says so, which has no connection for now', async () => {
    await sinkOf('bigint')
    let refused = 0
    const pooler = {
      connect: () => {
        if (refused === 0) return world.pool.connect()
        refused--
        return Promise.reject(Object.assign(new Error('Max client connections reached'), { code: 'XX000' }))
      }
    }
    const { cache, things } = open(postgresSink(pooler, { table: 'things', key: 'id', value: 'n' }))
    const taken = new Promise((resolve) => cache.on('shardTaken', resolve))
    cache.worker()
    await taken
    // To apply it, and to find out why that failed.
    refused = 2
    await things.put('a', 1)
    await cache.flush()
    expect(refused).toBe(0)
    expect(await table()).toEqual([{ id: 'a', n: '1' }])
    expect(await cache.deadLetters.list()).toEqual([])
  })
})

describe('what a policy refuses', () => {
  it('is put aside alone', async () => {
    const policy = `
      CREATE POLICY not_thirteen ON things USING (true) WITH CHECK (n <> 13);
      ALTER TABLE things ENABLE ROW LEVEL SECURITY; CREATE ROLE clerk`
    await sinkOf('bigint', policy)
    await world.pool.query('GRANT ALL ON things, corral_shards, corral_marks TO clerk')
    const pool = new pg.Pool({ connectionString: world.postgresServer.url, options: '-c role=clerk' })
    const { cache, things } = open(postgresSink(pool, { table: 'things', key: 'id', value: 'n' }))
    await Promise.all([things.put('a', 13), things.put('b', 14)])
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([{ id: 'b', n: '14' }])
    expect(await cache.deadLetters.list()).toMatchObject([{ id: 'a', value: 13, code: '42501' }])
    await cache.close()
    await pool.end()
  })
})

describe('a table that would refuse the row as it is to be inserted', () => {
  const columns = 'int CHECK (n >= 0), name text NOT NULL'
  const rows = "INSERT INTO things VALUES ('1', 10, 'lamp'), ('2', 20, 'chair')"

  it('lets be added to, taken from and changed what is there', async () => {
    const { cache, things } = open(await sinkOf(columns, rows))
    await Promise.all([things.increment('1', -3), things.put('2', 5), things.increment('3')])
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([
      { id: '1', n: '7' },
      { id: '2', n: '5' }
    ])
    expect(await cache.deadLetters.list()).toMatchObject([{ id: '3', code: '23502' }])
    await things.increment('1', -8)
    await cache.flush()
    expect(await things.get('1')).toBe(7)
    expect(await cache.deadLetters.list()).toMatchObject([{ id: '3' }, { id: '1', value: -8, code: '23514' }])
  })

  it('loses nothing of two ids that name one row', async () => {
    const { cache, things } = open(await sinkOf(columns, rows))
    await Promise.all([things.increment(1, -1), things.increment('1', -2), things.increment(2, -4)])
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([
      { id: '1', n: '7' },
      { id: '2', n: '16' }
    ])
    expect(await cache.deadLetters.list()).toEqual([])
  })

  it('gets new rows, and keeps what is newer', async () => {
    await world.reset(`DROP TABLE IF EXISTS numbered;
      CREATE TABLE numbered (id int PRIMARY KEY, name text NOT NULL, version int CHECK (version > 0));
      INSERT INTO numbered VALUES (1, 'one', 5)`)
    const shape = { table: 'numbered', key: 'id', columns: ['name', 'version'], version: 'version' }
    const sink = postgresSink<number, { name: string; version: number }>(world.pool, shape)
    await sink.migrate()
    const { epoch } = await sink.take('s')
    const put = (id: number, name: string, version: number) =>
      ({ kind: 'put', id, tenant: undefined, value: { name, version }, replaces: false }) as const
    const apply = (...operations: ReturnType<typeof put>[]) =>
      sink.apply({ shard: 's', epoch, operations, marks: new Map() })
    expect(await apply(put(1, 'older', 4), put(2, 'two', 1))).toBe('applied-in-part')
    expect(await apply(put(1, 'newer', 6), put(2, 'newer', 2))).toBe('applied')
    await apply(put(1, 'newest', 9), put(1, 'late', 8), put(3, 'new', 2), put(3, 'late', 1))
    const { rows: kept } = await world.pool.query('SELECT name, version FROM numbered ORDER BY id')
    expect(kept).toEqual([
      { name: 'newest', version: 9 },
      { name: 'newer', version: 2 },
      { name: 'new', version: 2 }
    ])
  })
})

describe('an operation of a later version of this library', () => {
  /** The stream's only record, changed. */
  async function changed(change: (record: Buffer) => void): Promise<void> {
    const stream = 'shop:#behind:{things.0}:stream'
    const [[id, fields]] = (await world.redis.xrangeBuffer(stream, '-', '+')) as [[Buffer, Buffer[]]]
    change(fields[fields.findIndex((field) => field.toString() === 'o') + 1]!)
    await world.redis
      .multi()
      .del(stream)
      .xadd(stream, id, ...fields)
      .exec()
  }

  const places: [what: string, at: (record: Buffer) => number][] = [
    ['kind', () => 6],
    ['entry', (record) => record.indexOf(Buffer.from([0xc0, 1])) + 1]
  ]
  it.each(places)('with a %s of its own waits for a worker that knows it', async (_, at) => {
    const { cache, things } = open(await sinkOf('bigint'))
    const failures: unknown[] = []
    cache.on('flushFailed', ({ error }) => failures.push(error))
    await things.put('a', 5)
    let [place, known] = [0, 0]
    await changed((record) => {
      place = at(record)
      known = record[place]!
      record[place] = 2
    })
    cache.worker()
    const problems = (): string => cache.health().problems.join()
    await until('it is a problem', () => problems().includes('later version of Corral'))
    expect(problems()).toContain('What waits in shard 0 of "things" is not brought to postgres:things')
    expect(String(failures[0])).toContain('waits for a worker of that version')
    expect(await cache.deadLetters.list()).toEqual([])
    await changed((record) => {
      record[place] = known
    })
    await cache.flush()
    expect(await table()).toEqual([{ id: 'a', n: '5' }])
    await until('it is none any more', () => problems() === '')
  })
})

describe('an increment of a column to which nothing can be added', () => {
  it('is put aside, and can be sent again once the column is a number', async () => {
    const { cache, things } = open(await sinkOf('jsonb'))
    await Promise.all([things.put('a', 13), things.increment('b', 14)])
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([{ id: 'a', n: '13' }])
    const letters = await cache.deadLetters.list()
    expect(letters).toMatchObject([
      { id: 'b', value: 14, reason: expect.stringContaining('jsonb cannot add') }
    ])
    await world.pool.query('ALTER TABLE things ALTER n TYPE numeric USING n::numeric')
    await cache.deadLetters.replay(letters)
    await cache.flush()
    expect(await table()).toContainEqual({ id: 'b', n: '14' })
  })
})

describe('a dead letter that is sent again', () => {
  it('makes nothing of what is added behind it', async () => {
    const { cache, things } = open(await sinkOf('double precision'))
    await things.put('a', 'many' as unknown as number)
    const worker = cache.worker()
    await cache.flush()
    await worker.stop()
    // Nobody has mended it, and both go in one batch.
    expect(await cache.deadLetters.replay(await cache.deadLetters.list())).toBe(1)
    await things.increment('a', 3)
    cache.worker()
    await cache.flush()
    expect(await table()).toEqual([{ id: 'a', n: '3' }])
    expect(await things.get('a')).toBe(3)
    expect(await cache.deadLetters.list()).toMatchObject([{ id: 'a', value: 'many' }])
  })

  it('comes behind what was put aside of its row before it, whatever the clock of the worker said', async () => {
    const { cache, things } = open(await sinkOf('double precision'))
    cache.worker()
    await things.put('a', 'older' as unknown as number)
    await cache.flush()
    const now = Date.now
    const setBack = vi.spyOn(Date, 'now').mockImplementation(() => now() - 3_600_000)
    try {
      await things.put('a', 'newer' as unknown as number)
      await cache.flush()
    } finally {
      setBack.mockRestore()
    }
    await world.pool.query('ALTER TABLE things ALTER n TYPE text')
    expect(await cache.deadLetters.replay(await cache.deadLetters.list())).toBe(2)
    await cache.flush()
    expect(await table()).toEqual([{ id: 'a', n: 'newer' }])
  })
})

describe('an id', () => {
  it('with a field that reads like a bigint stays what it is', async () => {
    await world.reset('DROP TABLE IF EXISTS odd; CREATE TABLE odd ("$n" text PRIMARY KEY, n text)')
    const sink = postgresSink<CacheId, string>(world.pool, { table: 'odd', key: ['$n'], value: 'n' })
    await sink.migrate()
    const cache = world.open()
    const write = writeBehind<CacheId, string>({ sink, flushEvery: '50ms', shards: 1 })
    const odd = cache.collection<CacheId, string>('odd', { ttl: '1h', load: async () => undefined, write })
    await Promise.all([
      odd.put({ $n: 'x' }, 'text'),
      odd.put({ $n: '5' }, 'digits'),
      odd.put({ $n: 6n }, 'bigint')
    ])
    cache.worker()
    await cache.flush()
    const { rows } = await world.pool.query('SELECT "$n" AS id, n FROM odd ORDER BY id')
    expect(rows).toEqual([
      { id: '5', n: 'digits' },
      { id: '6', n: 'bigint' },
      { id: 'x', n: 'text' }
    ])
    expect(await cache.deadLetters.list()).toEqual([])
  })

  it('that is too long for the queue is refused alone', async () => {
    const { things } = open(await sinkOf('bigint'))
    const long = things.put('x'.repeat(70_000), 1)
    const short = things.put('short', 2)
    await expect(long).rejects.toMatchObject({ code: 'INVALID_KEY' })
    expect(await short).toMatchObject({ cache: 'accepted' })
  })
})

describe('a number with more tags than most', () => {
  it('is added to, and read back', async () => {
    const sink = (await sinkOf('bigint')) as PostgresSink<string, number>
    const cache = world.open()
    const tagged = cache.collection<string, number>('things', {
      ttl: '1h',
      tags: () => Array.from({ length: 60 }, (_, index) => `${index}`.repeat(60)),
      load: async () => undefined,
      write: writeBehind({ sink, flushEvery: '50ms', shards: 1 })
    })
    await tagged.put('a', 1)
    expect(await tagged.increment('a')).toBe(2)
    expect(await tagged.get('a')).toBe(2)
    expect(await tagged.increment('a')).toBe(3)
    expect(await tagged.get('a')).toBe(3)
  })
})

describe('a row that is newer by its version than what is put', () => {
  interface Row {
    readonly name: string
    readonly version: number
  }

  async function numbered(options: Partial<BehindOptions<number, Row>>): Promise<{
    cache: Cache
    rows: Collection<number, Row>
  }> {
    await world.reset(
      'DROP TABLE IF EXISTS numbered; CREATE TABLE numbered (id int PRIMARY KEY, name text, version int)'
    )
    const columns = ['name', 'version']
    const sink = postgresSink<number, Row>(world.pool, {
      table: 'numbered',
      key: 'id',
      columns,
      version: 'version'
    })
    await sink.migrate()
    await world.pool.query("INSERT INTO numbered VALUES (1, 'by hand', 5)")
    const cache = world.open()
    const load = async (id: number): Promise<Row | undefined> =>
      (await world.pool.query<Row>('SELECT name, version FROM numbered WHERE id = $1', [id])).rows[0]
    const write = writeBehind({ sink, flushEvery: '50ms', shards: 1, ...options })
    return { cache, rows: cache.collection<number, Row>('numbered', { ttl: '1h', load, write }) }
  }

  it('is what is read, once the table was asked', async () => {
    const { cache, rows } = await numbered({})
    await Promise.all([rows.put(1, { name: 'older', version: 4 }), rows.put(2, { name: 'new', version: 1 })])
    cache.worker()
    await cache.flush()
    expect(await rows.get(1)).toEqual({ name: 'by hand', version: 5 })
    expect(await rows.get(2)).toEqual({ name: 'new', version: 1 })
  })

  it('is what is read also when both waited together, or came together', async () => {
    const { cache, rows } = await numbered({})
    const [newer, older] = [
      { name: 'newer', version: 7 },
      { name: 'older', version: 6 }
    ]
    await rows.put(1, newer)
    await rows.put(1, older)
    await Promise.all([rows.put(2, newer), rows.put(2, older)])
    cache.worker()
    await cache.flush()
    expect(await rows.get(1)).toEqual(newer)
    expect(await rows.get(2)).toEqual(newer)
  })

  it('is what it would be for ever when nothing says how new the other one is, which is put aside', async () => {
    const { cache, rows } = await numbered({})
    const nameless = { name: 'of no version' } as Row
    await Promise.all([rows.put(1, nameless), rows.put(2, { name: 'new', version: 1 })])
    cache.worker()
    await cache.flush()
    expect(await rows.get(1)).toEqual({ name: 'by hand', version: 5 })
    expect(await rows.get(2)).toEqual({ name: 'new', version: 1 })
    expect(await cache.deadLetters.list()).toMatchObject([
      { id: 1, value: nameless, reason: 'Column "version" of type integer cannot hold nothing' }
    ])
  })

  it('costs no round trip for each put of it that comes at once', async () => {
    const { cache, rows } = await numbered({})
    const versions = Array.from({ length: 1_000 }, (_, version) => (version * 7) % 1_000)
    await Promise.all(versions.map((version) => rows.put(2, { name: `v${version}`, version })))
    expect(await world.redis.xlen('shop:#behind:{numbered.0}:stream')).toBeLessThan(100)
    cache.worker()
    await cache.flush()
    expect(await rows.get(2)).toEqual({ name: 'v999', version: 999 })
  })

  it('is what is read also when it was written through', async () => {
    const { rows } = await numbered({ limits: { operations: 1 }, whenFull: 'write-through' })
    await rows.put(2, { name: 'new', version: 1 })
    await rows.put(1, { name: 'older', version: 4 })
    expect(await rows.get(1)).toEqual({ name: 'by hand', version: 5 })
  })
})
