import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openOperator } from '../../src/admin/connect.js'
import { dropKeys } from '../../src/admin/drop.js'
import { surveyText } from '../../src/cli/commands/stats.js'
import { createCache, writeBehind, type Cache } from '../../src/index.js'
import { startCuttingProxy } from '../support/cutting-proxy.js'
import { movingSlot } from '../support/moving-slot.js'
import { NOBODYS } from '../support/nobodys-sink.js'
import { until } from '../support/until.js'
import { startRedisCluster } from '../support/redis-cluster.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { keySlot } from '../../src/redis/key-slot.js'
import { corral, type Outcome, type World } from './command-line.js'

let server: RedisServer
let redis: Redis
let cache: Cache

beforeAll(async () => {
  server = await startRedisServer({ args: ['--maxmemory', '100mb'] })
  redis = new Redis(server.url)
  // A late reply must not turn what is asked of the command line into an outage.
  cache = createCache({ redis: server.url, namespace: 'shop', commandTimeout: '10s' })
})
afterAll(async () => {
  await cache.close()
  redis.disconnect()
  await server.stop()
})
beforeEach(async () => {
  await redis.flushall()
  // It takes the counters of what can be cleared as well, and for 2 ms a process believes its copies of them.
  await sleep(5)
})

const here = (world: World = {}): World => ({
  ...world,
  env: { REDIS_URL: server.url, CORRAL_NAMESPACE: 'shop', ...world.env }
})
const shop = (...args: string[]): Promise<Outcome> => corral(args, here())
const parsed = async (...args: string[]): Promise<unknown> => JSON.parse((await shop(...args, '--json')).out)

let lastCollection = 0
/** A collection that has not been used before, with these ids cached, of the tenant or of none. */
async function filled(ids: readonly number[], tenant?: string): Promise<string> {
  const name = `c${++lastCollection}`
  const collection = cache.collection(name, {
    ttl: '1h',
    load: async (id: number) => ({ id, secret: 'do not tell' })
  })
  await (tenant === undefined ? collection : collection.tenant(tenant)).getMany(ids)
  return name
}

describe('inspect', () => {
  it('tells a value’s state, age, life and size, and keeps the value to itself', async () => {
    const name = await filled([7])
    const { code, out } = await shop('inspect', `${name}:7`)
    expect(code).toBe(0)
    expect(out).toMatch(/state +fresh/)
    expect(out).toContain(`shop:${name}:7`)
    expect(out).not.toContain('do not tell')
    const story = await parsed('inspect', `shop:${name}:7`)
    expect(JSON.stringify(story)).not.toContain('do not tell')
    expect(story).toMatchObject({
      state: 'fresh',
      parts: { namespace: 'shop', collection: name, id: '7' },
      holders: [],
      value: { notFound: false, backingOff: false }
    })
  })

  it('shows the value when asked', async () => {
    const name = await filled([7])
    expect((await shop('inspect', `${name}:7`, '--show-value')).out).toContain('do not tell')
    expect(await parsed('inspect', `${name}:7`, '--show-value')).toMatchObject({
      value: { shown: { id: 7, secret: 'do not tell' } }
    })
  })

  it('tells who loads, who refreshes and who writes', async () => {
    const gate = newGate()
    const loading = cache.collection('loading', {
      ttl: '1h',
      load: async () => {
        await gate.promise
        return 1
      },
      write: async (_id: number, value: number) => {
        await gate.promise
        return value
      }
    })
    const reading = loading.get(1)
    const writing = loading.put(2, 5)
    await expect
      .poll(() => parsed('inspect', 'loading:1'), { timeout: 20_000 })
      .toMatchObject({
        state: 'loading',
        holders: [{ purpose: 'load', token: expect.stringMatching(/^[0-9a-f]{8}$/) as string }]
      })
    await expect
      .poll(() => parsed('inspect', 'loading:2'), { timeout: 20_000 })
      .toMatchObject({ state: 'writing', holders: [{ purpose: 'write' }] })
    gate.resolve()
    await Promise.all([reading, writing])
  })

  it('tells failures, not-founds, stale values, damage, other programs’ keys and nothing', async () => {
    const odd = cache.collection('odd', {
      ttl: 40,
      stale: '1h',
      jitter: 0,
      failedTtl: '10s',
      load: async (id: number) => {
        if (id === 1) throw Object.assign(new TypeError('no such table'), { code: '42P01' })
        return id === 2 ? undefined : { id }
      }
    })
    await expect(odd.get(1)).rejects.toThrow('no such table')
    await odd.getMany([2, 3])
    expect(await parsed('inspect', 'odd:1')).toMatchObject({
      state: 'failed',
      detail: expect.stringContaining('TypeError (42P01): no such table') as string
    })
    expect(await parsed('inspect', 'odd:2')).toMatchObject({ value: { notFound: true } })
    await expect.poll(() => parsed('inspect', 'odd:3'), { timeout: 20_000 }).toMatchObject({ state: 'stale' })
    const bytes = (await redis.getBuffer('shop:odd:3'))!
    bytes[bytes.length - 1]! ^= 1
    await redis.set('shop:odd:4', bytes, 'PX', 60_000)
    expect(await parsed('inspect', 'odd:4')).toMatchObject({
      state: 'unreadable',
      detail: expect.stringContaining('checksum') as string
    })
    await redis.set('shop:odd:5', 'text')
    expect(await parsed('inspect', 'odd:5')).toMatchObject({ state: 'unreadable' })
    await redis.lpush('shop:odd:6', 'x')
    expect(await parsed('inspect', 'odd:6')).toMatchObject({ state: 'foreign' })
    expect(await parsed('inspect', 'odd:7')).toMatchObject({ state: 'absent' })
  })

  it('tells what is too large to be stored, and what the source does not have yet, whatever was cleared', async () => {
    const writing = createCache({
      redis: server.url,
      namespace: 'shop',
      maxValueBytes: 1_000,
      commandTimeout: '10s'
    })
    try {
      const large = writing.collection('large', {
        ttl: '1h',
        load: async (_id: number) => 'x'.repeat(2_000)
      })
      await large.get(1)
      expect(await parsed('inspect', 'large:1')).toMatchObject({
        state: 'failed',
        detail: expect.stringContaining('what is loaded is not stored') as string
      })
      const views = writing.collection('views', {
        ttl: '1h',
        load: (_id: number): number | undefined => undefined,
        write: writeBehind({ sink: NOBODYS, shards: 1 })
      })
      await views.put(1, 7)
      await views.clear()
      expect(await views.get(1)).toBe(7)
      expect(await parsed('inspect', 'views:{views.0}:1')).toMatchObject({ state: 'unflushed' })
    } finally {
      await writing.close({ timeout: 0 })
    }
  })
})

describe('keys', () => {
  it('lists those of a collection and of a tenant, and of no other', async () => {
    const name = await filled([1, 2])
    await filled([1])
    const tenants = cache.collection('tenants', { ttl: '1h', load: async (id: number) => id })
    for (const tenant of ['1', 1, 10, 'a:*']) await tenants.tenant(tenant).get(5)
    expect((await shop('keys', '--collection', name)).out.split('\n').sort()).toEqual([
      '',
      `shop:${name}:1`,
      `shop:${name}:2`
    ])
    expect((await shop('keys', '--tenant', '1')).out).toBe('shop:tenant:1:tenants:5\n')
    expect((await shop('keys', '--tenant', "'1'")).out).toBe("shop:tenant:'1':tenants:5\n")
    expect((await shop('keys', '--tenant', 'a:*')).out).toBe('shop:tenant:a%3A%2A:tenants:5\n')
    expect((await shop('keys', '--tenant', '*')).out).toBe('')
  })

  it('counts instead, and stops where it is told to', async () => {
    const name = await filled([1, 2, 3])
    expect(await parsed('keys', '--count', '--collection', name)).toMatchObject({
      keys: 3,
      groups: [{ collection: name, keys: 3 }]
    })
    const { out, err, code } = await shop('keys', '--limit', '2')
    expect(out.trim().split('\n')).toHaveLength(2)
    expect([code, err]).toEqual([0, expect.stringContaining('more than 2')])
    expect(await parsed('keys', '--limit', '2')).toMatchObject({ isCut: true })
  })

  it('finds them all among very many that are somebody else’s, with SCAN alone', async () => {
    await redis.eval("for i = 1, 30000 do redis.call('SET', 'other:' .. i, 'x') end", 0)
    const name = await filled([1, 2, 3])
    await redis.config('RESETSTAT')
    expect((await shop('keys', '--collection', name)).out.trim().split('\n')).toHaveLength(3)
    const commands = await redis.info('commandstats')
    expect(commands).not.toContain('cmdstat_keys')
    expect(Number(/cmdstat_scan:calls=(\d+)/.exec(commands)![1])).toBeGreaterThanOrEqual(30)
  })
})

describe('text that others have made', () => {
  it('steers no terminal and begins no line: keys show with escapes, and exactly in JSON', async () => {
    const hostile = 'shop:x\u001B]0;owned\u0007\nshop\u202E:y'
    await redis.set(hostile, 'x')
    expect((await shop('keys')).out).toBe('shop:x\\x1b]0;owned\\x07\\x0ashop\\u{202e}:y\n')
    expect(await parsed('keys')).toEqual({ keys: [hostile], isCut: false })
    for (const args of [['inspect', hostile], ['keys', '--count'], ['stats', '--keys'], ['doctor']]) {
      const { out } = await shop(...args)
      expect(out, args[0]).not.toMatch(/[^\P{C}\n]/u)
    }
    expect((await shop('doctor')).out).toContain('EXPIRE "shop:x\\x1b]0;owned')
  })
})

describe('invalidate', () => {
  it('leaves Corral’s own keys alone, which are in what `keys` lists: a stream may hold unwritten changes', async () => {
    const name = await filled([1])
    const stream = 'shop:#behind:{views.0}:stream'
    await redis.xadd(stream, '*', 'id', '1')
    for (const key of [stream, '#behind:{views.0}:stream', '#gen']) {
      expect(await shop('invalidate', `${name}:1`, key, '--yes'), key).toMatchObject({
        code: 1,
        err: expect.stringContaining('holds no entry') as string
      })
    }
    expect(await redis.exists(stream, `shop:${name}:1`)).toBe(2)
  })

  it('drops after a yes, and only says how many with --dry-run', async () => {
    const name = await filled([1, 2])
    const keys = [`${name}:1`, `${name}:2`, `${name}:3`]
    expect(await parsed('invalidate', ...keys, '--dry-run')).toEqual({
      keys: 3,
      existing: 2,
      dropped: 0,
      dryRun: true
    })
    const declined = await corral(['invalidate', ...keys], here({ answer: 'n' }))
    expect([declined.code, declined.err]).toEqual([1, expect.stringContaining('Drop 2 entries?')])
    expect(await redis.exists(`shop:${name}:1`)).toBe(1)
    expect(await corral(['invalidate', ...keys], here({ answer: 'yes' }))).toMatchObject({
      code: 0,
      out: '2 entries dropped.\n'
    })
    expect(await redis.exists(`shop:${name}:1`)).toBe(0)
  })

  it('says of nothing that it is dropped when Redis went before it was', async () => {
    await using mine = await startRedisServer()
    const operator = await openOperator({ url: mine.url, timeoutMs: 5_000 })
    await mine.stop()
    const refusal: unknown = await dropKeys(operator, ['shop:rows:1', 'shop:rows:2']).catch((error) => error)
    operator.close()
    expect(refusal).toBeInstanceOf(Error)
    expect(String(refusal)).not.toContain('dropped from Redis')
  })

  it('does nothing when nobody is there to ask', async () => {
    const name = await filled([1])
    expect(await shop('invalidate', `${name}:1`)).toMatchObject({
      code: 2,
      err: expect.stringContaining('--yes') as string
    })
    expect(await redis.exists(`shop:${name}:1`)).toBe(1)
    expect(await shop('invalidate', `${name}:1`, '--yes')).toMatchObject({ code: 0 })
    expect(await redis.exists(`shop:${name}:1`)).toBe(0)
  })
})

describe('where Redis does not tell who keeps values in memory', () => {
  let kept: Cache
  beforeEach(async () => {
    await redis.acl('SETUSER', 'untold', 'on', '>pw', '~*', '&*', '+@all', '-client|tracking')
    kept = createCache({
      redis: server.url.replace('//', '//untold:pw@'),
      namespace: 'shop',
      memory: { maxBytes: 1024 * 1024 }
    })
    await until('it hears by the channel', () => kept.health().memory.mode === 'channel', 60_000)
    return () => kept.close()
  }, 70_000)

  it('invalidate tells them', async () => {
    let version = 1
    const rows = kept.collection('rows', { ttl: '1h', load: async (_id: number) => version })
    await until('it is kept', async () => (await rows.lookup(1)).source === 'memory', 60_000)
    version = 2
    expect(await shop('invalidate', 'rows:1', '--yes')).toMatchObject({ out: '1 entry dropped.\n' })
    await until('it is not served any more', async () => (await rows.get(1)) === 2, 20_000)
  }, 90_000)

  it('clear does, also of what has no collection and is in Redis no more', async () => {
    let version = 1
    const read = (): Promise<number | undefined> => kept.getOrLoad('home', () => version, { ttl: '1h' })
    // What was deleted by hand is not told of, so it is still read from memory.
    await until(
      'it is kept',
      async () => {
        version = 1
        await redis.unlink('shop:~:home')
        // Loaded, and kept when it is read.
        for (let time = 0; time < 2; time++) await read()
        await redis.unlink('shop:~:home')
        version = 2
        return (await read()) === 1
      },
      60_000
    )
    expect(await shop('clear', '--collection', '~', '--yes')).toMatchObject({ code: 0 })
    await until('it is not served any more', async () => (await read()) === 2, 20_000)
  }, 90_000)
})

describe('clear', () => {
  it('clears a tenant and nothing else: nobody is served what was loaded before, and it is removed', async () => {
    const things = cache.collection('clearable', { ttl: '1h', load: async (id: number) => ({ id }) })
    await things.getMany([1, 2])
    for (const tenant of [1, '1', 10]) await things.tenant(tenant).getMany([1, 2])
    expect(await parsed('clear', '--tenant', '1', '--dry-run')).toMatchObject({
      entries: 2,
      removed: 0,
      dryRun: true
    })
    expect((await things.tenant(1).lookup(1)).source).toBe('redis')
    expect(await shop('clear', '--tenant', '1')).toMatchObject({
      code: 2,
      err: expect.stringContaining('everything of tenant 1 in shop: 2 entries?') as string
    })
    expect(await corral(['clear', '--tenant', '1'], here({ answer: 'y' }))).toMatchObject({
      code: 0,
      out: 'Cleared; 2 entries removed.\n'
    })
    expect((await things.tenant(1).lookup(1)).source).toBe('loader')
    expect((await things.lookup(1)).source).toBe('redis')
    for (const other of ['1', 10]) expect((await things.tenant(other).lookup(2)).source).toBe('redis')
  })

  it('takes 007 for a text, and leaves the tenant 7 alone', async () => {
    const things = cache.collection('numbered', { ttl: '1h', load: async (id: number) => ({ id }) })
    for (const tenant of [7, '007', 'a,b']) await things.tenant(tenant).get(1)
    expect(await parsed('clear', '--tenant', '007', '--yes')).toMatchObject({ entries: 1, removed: 1 })
    expect(await parsed('clear', '--tenant', 'a,b', '--yes')).toMatchObject({ entries: 1, removed: 1 })
    expect((await things.tenant(7).lookup(1)).source).toBe('redis')
    expect((await things.tenant('007').lookup(1)).source).toBe('loader')
  })

  it('says that it is cleared, also when what was cleared cannot be removed any more', async () => {
    const things = cache.collection('unremovable', { ttl: '1h', load: async (id: number) => ({ id }) })
    await things.get(1)
    await redis.acl('SETUSER', 'scans-once', 'on', 'nopass', '~*', '&*', '+@all', '-unlink')
    const url = server.url.replace('//', '//scans-once:x@')
    const { code, err } = await corral(
      ['clear', '--collection', 'unremovable', '--yes', '--redis', url],
      here()
    )
    expect([code, err]).toEqual([1, expect.stringContaining('It is cleared, and what is left of it')])
    expect((await things.lookup(1)).source).toBe('loader')
  })

  it('clears a collection of every tenant, the namespace, and what has no collection', async () => {
    const name = await filled([1, 2])
    const other = await filled([1])
    await cache.getOrLoad('home', () => 'x', { ttl: '1h' })
    expect(await parsed('clear', '--collection', name, '--yes')).toMatchObject({ entries: 2, removed: 2 })
    expect(await parsed('keys', '--count', '--collection', other)).toMatchObject({ keys: 1 })
    expect(await parsed('clear', '--collection', '~', '--yes')).toMatchObject({ entries: 1, removed: 1 })
    expect(await parsed('clear', '--all', '--yes')).toMatchObject({ removed: 1 })
    expect(await parsed('keys')).toMatchObject({
      keys: expect.not.arrayContaining([`shop:${other}:1`]) as string[]
    })
    for (const args of [[], ['--all', '--tenant', '1'], ['--collection', 'a:b']]) {
      expect((await shop('clear', ...args, '--yes')).code, args.join(' ')).toBe(2)
    }
  })

  it('says that nothing was cleared, and why, of a replica', async () => {
    await redis.config('SET', 'repl-diskless-sync-delay', '0')
    await using replica = await startRedisServer({ args: ['--replicaof', server.host, String(server.port)] })
    const client = new Redis(replica.url)
    await until('it follows', async () =>
      (await client.info('replication')).includes('master_link_status:up')
    )
    client.disconnect()
    expect(await corral(['clear', '--all', '--yes', '--redis', replica.url], here())).toMatchObject({
      code: 1,
      err: expect.stringMatching(/Nothing was cleared: .*READONLY/) as string
    })
  })

  it('says that nobody knows whether it is cleared when the answer was lost', async () => {
    const proxy = await startCuttingProxy(server.port)
    try {
      // Now the script is known, and the next call carries it out.
      await cache.clear()
      const name = await filled([1])
      const lost = proxy.loseAnswerTo('hard')
      const { code, err } = await corral(
        ['clear', '--collection', name, '--yes', '--redis', `redis://127.0.0.1:${proxy.port}`],
        here()
      )
      await lost
      expect([code, err]).toEqual([1, expect.stringContaining('Nobody knows whether it is cleared')])
      expect(await parsed('inspect', `${name}:1`)).toMatchObject({ state: 'cleared' })
    } finally {
      await proxy.stop()
    }
  })

  it('does so for a user that may not look what there is', async () => {
    const name = await filled([1])
    await redis.acl('SETUSER', 'blind', 'on', '>pw', '~*', '&*', '+@all', '-scan')
    const url = server.url.replace('//', '//blind:pw@')
    const clearing = (...flags: string[]): Promise<Outcome> =>
      corral(['clear', '--collection', name, '--redis', url, ...flags], here())
    expect((await clearing('--dry-run')).code).toBe(1)
    const { err } = await clearing('--yes')
    expect(err).toContain('What there is cannot be counted: NOPERM')
    expect(err).toContain('It is cleared, and what is left of it')
    expect(await parsed('inspect', `${name}:1`)).toMatchObject({ state: 'cleared' })
  })

  it('leaves stale values to be served with --soft, and inspect tells what was cleared', async () => {
    const soft = cache.collection('softened', {
      ttl: '1h',
      stale: '1h',
      load: async (id: number) => ({ id })
    })
    await soft.get(1)
    expect(await shop('clear', '--collection', 'softened', '--soft', '--yes')).toMatchObject({ code: 0 })
    expect(await parsed('inspect', 'softened:1')).toMatchObject({
      state: 'stale',
      detail: expect.stringContaining('made stale') as string
    })
    expect((await soft.lookup(1)).source).toBe('stale')
    const read = (): Promise<unknown> => cache.getOrLoad('soft', () => 1, { ttl: '1h', stale: '1h' })
    await read()
    expect(await shop('clear', '--collection', '~', '--soft', '--yes')).toMatchObject({ code: 0 })
    expect(await parsed('inspect', '~:soft')).toMatchObject({ state: 'stale' })
    const hard = cache.collection('hardened', {
      ttl: '1h',
      tags: () => ['red'],
      load: async (id: number) => ({ id })
    })
    await hard.getMany([1, 2])
    expect(await parsed('inspect', 'hardened:1')).toMatchObject({ state: 'fresh', value: { tags: ['red'] } })
    await cache.invalidateTags(['red'])
    expect(await parsed('inspect', 'hardened:1')).toMatchObject({ state: 'cleared' })
  })
})

describe('Ctrl-C', () => {
  it('ends a command at once, though Redis does not answer, and what it had not begun is not done', async () => {
    const things = cache.collection('kept', { ttl: '1h', load: async (id: number) => ({ id }) })
    await things.get(1)
    const interruption = new AbortController()
    server.pause()
    try {
      const clearing = corral(
        ['clear', '--all', '--yes', '--timeout', '10m'],
        here({ interrupted: interruption.signal })
      )
      interruption.abort()
      expect(await clearing).toEqual({ code: 130, out: '', err: 'Interrupted.\n' })
    } finally {
      server.resume()
    }
    expect((await things.lookup(1)).source).toBe('redis')
  })
})

describe('a driver that puts a prefix before every key', () => {
  it('is followed with --key-prefix, and a namespace is not taken for both', async () => {
    const driver = new Redis(server.url, { keyPrefix: 'theirs:' })
    const theirs = createCache({ redis: driver, namespace: 'shop', commandTimeout: '10s' })
    try {
      const rows = theirs.collection('prefixed', { ttl: '1h', load: async (id: number) => ({ id }) })
      await rows.getMany([1, 2, 3])
      await theirs.getOrLoad('home', () => 1, { ttl: '1h' })
      const at = (...args: string[]): Promise<Outcome> =>
        corral(args, here({ env: { CORRAL_KEY_PREFIX: 'theirs:' } }))
      const { out } = await at('keys', '--collection', 'prefixed')
      expect(out.trim().split('\n').sort()).toEqual([1, 2, 3].map((id) => `theirs:shop:prefixed:${id}`))
      for (const key of ['prefixed:1', 'shop:prefixed:1', 'theirs:shop:prefixed:1']) {
        expect(JSON.parse((await at('inspect', key, '--json')).out)).toMatchObject({
          key: 'theirs:shop:prefixed:1',
          state: 'fresh',
          parts: { namespace: 'shop', collection: 'prefixed', id: '1' }
        })
      }
      expect(await at('invalidate', 'theirs:shop:prefixed:1', '--yes')).toMatchObject({
        out: '1 entry dropped.\n'
      })
      expect((await rows.lookup(1)).source).toBe('loader')
      expect(await at('clear', '--collection', '~', '--yes')).toMatchObject({
        out: 'Cleared; 1 entry removed.\n'
      })
      expect(await at('clear', '--all', '--yes')).toMatchObject({ out: 'Cleared; 3 entries removed.\n' })
      expect((await rows.lookup(2)).source).toBe('loader')
      const { code, err } = await corral(['keys', '--namespace', 'theirs:shop'], here())
      expect([code, err]).toEqual([2, expect.stringContaining('--key-prefix')])
    } finally {
      await theirs.close()
      driver.disconnect()
    }
  })
})

describe('stats, top and bench', () => {
  it('show no more groups than asked for, and as many as there are', () => {
    const group = { tenant: 't', collection: 'c', keys: 1, bytes: 1 }
    const groups = Array.from({ length: 200_000 }, () => group)
    const survey = { groups, keys: 200_000, bytes: 1, internalKeys: 0, unsized: 0 }
    const plain = (_style: string, text: string): string => text
    expect(surveyText(survey, plain).split('\n')).toHaveLength(200_003)
    expect(surveyText(survey, plain, 30)).toContain('… and 199,970 more\n')
  })

  it('top goes on when Redis went and came back', async () => {
    await using other = await startRedisServer()
    const interruption = new AbortController()
    let [looks, isLost] = [0, false]
    const watching = corral(['top', '--interval', '20ms', '--redis', other.url], {
      isTerminal: true,
      interrupted: interruption.signal,
      onText: (text) => {
        if (text.includes('\u001B[H')) looks++
        if (text.includes('It is tried again')) isLost = true
      }
    })
    await until('it looks', () => looks > 0, 60_000)
    await other.kill()
    await until('it says so', () => isLost, 60_000)
    await other.restart()
    const before = looks
    await until('it looks again', () => looks > before + 1, 60_000)
    interruption.abort()
    expect((await watching).code).toBe(0)
  }, 120_000)

  it('stats tells the server’s numbers, and what each collection holds', async () => {
    const name = await filled([1, 2])
    await filled([1], 'acme')
    await redis.xadd('shop:#behind:x', '*', 'a', '1')
    const { servers, survey } = (await parsed('stats', '--keys')) as {
      servers: object[]
      survey: { internalKeys: number; groups: object[] }
    }
    expect(servers).toMatchObject([{ maxBytes: 100 * 1024 ** 2 }])
    expect(survey.internalKeys).toBeGreaterThan(1)
    expect(survey.groups).toContainEqual(expect.objectContaining({ collection: name, keys: 2 }))
    expect(survey.groups).toContainEqual(expect.objectContaining({ tenant: 'acme', keys: 1 }))
    expect((await shop('stats')).out).toMatch(/memory +.* of 100 MB/)
  })

  it('top tells rates, once or until it is interrupted', async () => {
    const once = (await parsed('top', '--once', '--interval', '100ms')) as { rates: { commands: number } }[]
    expect(once[0]!.rates.commands).toBeGreaterThan(0)
    const interruption = new AbortController()
    let looks = 0
    const onText = (text: string): void => {
      if (text.includes('\u001B[H') && ++looks === 2) interruption.abort()
    }
    const { code, out } = await corral(
      ['top', '--interval', '50ms'],
      here({ isTerminal: true, interrupted: interruption.signal, onText })
    )
    expect(code).toBe(0)
    expect(out.split('\u001B[H\u001B[J').length).toBeGreaterThan(2)
  })

  it('bench measures each way of reading, and leaves nothing behind', async () => {
    const results = (await parsed(
      'bench',
      '--duration',
      '30ms',
      '--sizes',
      '100,10kb',
      '--concurrency',
      '5'
    )) as { callsPerSecond: number; valueBytes: number; latencyMs: { p50: number; p99: number } }[]
    expect(results).toHaveLength(9)
    expect(
      results.every(({ callsPerSecond, latencyMs }) => callsPerSecond > 0 && latencyMs.p50 <= latencyMs.p99)
    ).toBe(true)
    expect(results.at(-1)).toMatchObject({ valueBytes: 10_240 })
    expect(await redis.dbsize()).toBe(0)
  })
})

describe('doctor', () => {
  it('has an exit code by what it finds, and JSON that programs can count on', async () => {
    const report = await parsed('doctor', '--memory-limit', '1gb')
    expect(report).toMatchObject({ kind: 'single', counts: { fail: 0 } })
    expect(Object.keys((report as { nodes: { findings: object[] }[] }).nodes[0]!.findings[0]!)).toEqual([
      'id',
      'title',
      'severity',
      'what',
      'why',
      'fix'
    ])
    expect((await shop('doctor', '--memory-limit', '1gb')).code).toBe(0)
    expect((await shop('doctor', '--memory-limit', '1gb', '--fail-on', 'warn')).code).toBe(1)
    expect((await shop('doctor', '--memory-limit', '110mb')).code).toBe(1)
    expect((await shop('doctor', '--memory-limit', 'much')).code).toBe(2)
  })

  it('is coloured for people, unless NO_COLOR is set, and never in a pipe', async () => {
    const args = ['doctor', '--memory-limit', '1gb']
    expect((await corral(args, here({ isTerminal: true }))).out).toContain('\u001B[')
    expect((await corral(args, here({ isTerminal: true, env: { NO_COLOR: '1' } }))).out).not.toContain(
      '\u001B['
    )
    expect((await corral(args, here())).out).not.toContain('\u001B[')
  })
})

describe('settings', () => {
  it('come from flags, then the environment, then the file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'corral-cli-'))
    try {
      const name = await filled([1])
      const config = JSON.stringify({ redis: server.url, namespace: 'elsewhere' })
      await writeFile(join(folder, 'corral.config.json'), config)
      const args = ['keys', '--collection', name]
      expect((await corral(args, { folder })).out).toBe('')
      expect((await corral(args, { folder, env: { CORRAL_NAMESPACE: 'shop' } })).out).toBe(`shop:${name}:1\n`)
      expect(
        (await corral([...args, '--namespace', 'none'], { folder, env: { CORRAL_NAMESPACE: 'shop' } })).out
      ).toBe('')
      await writeFile(join(folder, 'other.json'), JSON.stringify({ redis: server.url, namspace: 'shop' }))
      expect(await corral([...args, '--config', 'other.json'], { folder })).toMatchObject({
        code: 2,
        err: expect.stringContaining('"namspace"') as string
      })
      expect(await corral([...args, '--config', 'missing.json'], { folder })).toMatchObject({ code: 2 })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('go by what is given last: a name and a password of their own before those in the URL', async () => {
    await redis.acl('SETUSER', 'people', 'on', '>theirs', '~*', '&*', '+@all')
    const url = server.url.replace('//', '//nobody:wrong@')
    const env = { REDIS_PASSWORD: 'theirs' }
    const { code, out } = await corral(
      ['doctor', '--json', '--redis', url, '--username', 'people', '--memory-limit', '1gb'],
      { env }
    )
    expect([code, out]).toEqual([0, expect.stringContaining('connected as people')])
  })

  it('are not what an empty variable of the shell leaves of them', async () => {
    const empty = await corral(['keys', '--redis', ''], here())
    expect([empty.code, empty.err]).toEqual([2, '--redis is empty.\n'])
    expect((await corral(['keys', '--namespace', ''], here())).code).toBe(2)
    expect((await corral(['keys'], here({ env: { CORRAL_CONFIG: '', REDIS_USERNAME: '' } }))).code).toBe(0)
    for (const args of [
      ['keys', '--timeout', '30d'],
      ['top', '--interval', '60d'],
      ['keys', '--timeout', '0']
    ]) {
      expect((await corral(args, here())).code, args.join(' ')).toBe(2)
    }
  })

  it('that are wrong or missing are told apart from what Redis does', async () => {
    expect(await corral(['keys', '--redis', server.url])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--namespace') as string
    })
    expect((await corral(['keys', '--redis', 'hunter2'])).err).not.toContain('hunter2')
    expect((await corral(['keys', '--redis', 'hunter2'])).code).toBe(2)
    expect((await corral(['nonsense'])).code).toBe(2)
    expect((await corral(['keys', '--nonsense'])).code).toBe(2)
    expect((await corral(['--help'])).code).toBe(0)
    expect(await corral(['--version'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+/) as string
    })
  })

  it('lead to no other database than they name, and say why nobody answers', async () => {
    const name = await filled([1])
    for (const database of ['99', 'x']) {
      const { code, err } = await corral(
        ['clear', '--all', '--yes', '--redis', `${server.url}/${database}`],
        here()
      )
      expect([code, err]).toEqual([1, expect.stringMatching(/database|DB index is out of range/)])
    }
    expect(await parsed('inspect', `${name}:1`)).toMatchObject({ state: 'fresh' })
    expect((await corral(['keys', '--redis', 'redis://127.0.0.1:1'], here())).err).toContain('ECONNREFUSED')
    expect((await corral(['keys', '--redis', 'unix:///nowhere'], here())).err).toContain('ENOENT')
  })

  it('never put on the screen what stands in a file or a list that cannot be read', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'corral-cli-'))
    try {
      await writeFile(join(folder, 'corral.config.json'), '{"password": hunter2}')
      const { code, err } = await corral(['stats'], { folder })
      expect([code, err]).toEqual([2, expect.stringContaining('is no JSON')])
      expect(err).not.toContain('ter2')
    } finally {
      await rm(folder, { recursive: true })
    }
    for (const sentinels of [
      'redis://:hunter2@sentinel',
      'redis://:hunter2@sentinel:26379',
      'sentinel:99999'
    ]) {
      const { code, err } = await corral(['stats', '--sentinels', sentinels])
      expect([code, err]).toEqual([2, expect.stringContaining('host:port')])
      expect(err).not.toContain('ter2')
    }
  })

  it('never put a password on the screen, also when Redis cannot be reached or refuses it (#112)', async () => {
    for (const url of [
      'redis://user:hunter2@127.0.0.1:1',
      `redis://user:hunter2@127.0.0.1:${server.port}`,
      'redis://user:hun@ter2@127.0.0.1:1',
      'redis://user:hun ter2@127.0.0.1:1',
      'redis://127.0.0.1:1?db=0&password=hunter2'
    ]) {
      const { code, out, err } = await corral(['stats', '--redis', url])
      expect(code).toBe(1)
      expect(err).not.toBe('')
      expect(out + err).not.toMatch(/ter2/)
    }
  })
})

describe('completion', () => {
  const scripts = async (): Promise<Record<string, string>> =>
    Object.fromEntries(
      await Promise.all(
        ['bash', 'zsh', 'fish'].map(
          async (shell) => [shell, (await corral(['completion', shell])).out] as const
        )
      )
    )

  it('names every command and flag, for three shells', async () => {
    for (const script of Object.values(await scripts())) {
      for (const word of ['doctor', 'inspect', 'memory-limit', 'show-value', 'dry-run'])
        expect(script).toContain(word)
    }
    expect((await corral(['completion', 'tcsh'])).code).toBe(2)
  })

  it('completes in a real bash', async () => {
    const { bash } = await scripts()
    const complete = (...words: string[]): string[] =>
      execFileSync(
        'bash',
        [
          '-c',
          `${bash}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _corral; printf '%s\\n' "\${COMPREPLY[@]}"`,
          'bash',
          ...words
        ],
        { encoding: 'utf8' }
      )
        .trim()
        .split('\n')
    expect(complete('corral', 'do')).toEqual(['doctor'])
    expect(complete('corral', 'inspect', '--show')).toEqual(['--show-value'])
    expect(complete('corral', 'completion', 'z')).toEqual(['zsh'])
  })
})

it('runs as a program of its own', async () => {
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
  const result = await new Promise<{ code: unknown; stdout: string }>((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', main, 'doctor', '--json', '--memory-limit', '101mb'],
      { env: { ...process.env, REDIS_URL: server.url } },
      (error, stdout) => resolve({ code: error?.code ?? 0, stdout })
    )
  })
  expect(result.code).toBe(1)
  expect(JSON.parse(result.stdout)).toMatchObject({ counts: { fail: 1 } })
})

it('takes the end of what is typed for a no', async () => {
  const terminal = new URL('../../src/cli/terminal.ts', import.meta.url).href
  const asking = `
    import { processTerminal } from ${JSON.stringify(terminal)}
    console.log(JSON.stringify(await processTerminal().ask('Sure?')))
  `
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', asking], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  await once(child, 'close')
  expect(out).toBe('""\n')
}, 60_000)

it('does what it was told to, though nobody reads how it goes', async () => {
  const name = await filled([1])
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', main, 'clear', '--collection', name, '--yes'], {
    env: { ...process.env, REDIS_URL: server.url, CORRAL_NAMESPACE: 'shop' },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  child.stderr.destroy()
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  const [code] = (await once(child, 'close')) as [number]
  expect([code, out]).toEqual([0, 'Cleared; 1 entry removed.\n'])
}, 60_000)

it('gives a slow reader all of it', async () => {
  await redis.eval(
    "for i = 1, 3000 do redis.call('SET', 'shop:long:' .. i .. string.rep('x', 300), 'x') end",
    0
  )
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', main, 'keys', '--limit', '0', '--json'], {
    env: { ...process.env, REDIS_URL: server.url, CORRAL_NAMESPACE: 'shop' },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(child, 'close')
  let out = ''
  child.stdout.setEncoding('utf8').once('readable', async () => {
    // Longer than a program lingers that has nothing more to do.
    await sleep(1_500)
    child.stdout.on('data', (text: string) => {
      out += text
    })
  })
  expect((await ended)[0]).toBe(0)
  expect((JSON.parse(out) as { keys: string[] }).keys).toHaveLength(3_000)
})

it('looks at every node of a Cluster, given any one of them', async () => {
  await using cluster = await startRedisCluster({
    replicasEach: 0,
    args: ['--cluster-require-full-coverage', 'no', '--unixsocket', 'socket']
  })
  const url = cluster.nodes[1]!.url
  const whole = new Cluster([{ host: '127.0.0.1', port: cluster.nodes[0]!.port }])
  for (let id = 0; id < 100; id++) await whole.set(`shop:things:${id}`, 'x', 'EX', 600)
  whole.disconnect()
  const world = { env: { REDIS_URL: url, CORRAL_NAMESPACE: 'shop' } }
  const count = async (): Promise<{ keys: number }> =>
    JSON.parse((await corral(['keys', '--count', '--json'], world)).out) as { keys: number }
  expect(await count()).toMatchObject({ keys: 100 })
  // By its socket it is as much of a Cluster.
  const bySocket = ['keys', '--redis', join(cluster.nodes[1]!.folder, 'socket'), '--limit', '0']
  expect((await corral(bySocket, world)).out.trim().split('\n')).toHaveLength(100)

  // While a slot is moved its keys are here and there.
  const moving = 'shop:things:0'
  const [from, to] = [cluster.nodes[ownerOf(moving, 3)]!, cluster.nodes[(ownerOf(moving, 3) + 1) % 3]!]
  const move = movingSlot(cluster, keySlot(moving), from, to)
  await move.begin()
  await move.moveKeys(moving)
  expect(JSON.parse((await corral(['inspect', moving, '--json'], world)).out)).toMatchObject({
    key: moving,
    expiresInMs: expect.any(Number) as number
  })
  expect(await corral(['invalidate', moving, '--yes'], world)).toMatchObject({
    code: 0,
    out: '1 entry dropped.\n'
  })
  await move.cancel()
  const keys = Array.from({ length: 40 }, (_, id) => `things:${id}`)
  expect(await corral(['invalidate', ...keys, '--yes'], world)).toMatchObject({
    code: 0,
    out: '39 entries dropped.\n'
  })
  expect(await count()).toMatchObject({ keys: 60 })
  expect(JSON.parse((await corral(['stats', '--json'], world)).out)).toMatchObject({
    servers: [{}, {}, {}],
    silent: []
  })
  expect(JSON.parse((await corral(['inspect', 'things:99', '--json'], world)).out)).toMatchObject({
    state: 'unreadable'
  })
  expect((await corral(['bench', '--duration', '20ms', '--sizes', '100'], world)).code).toBe(0)
  expect(await count()).toMatchObject({ keys: 60 })
  // Keys by hand are no entries, and only entries are cleared.
  expect(await corral(['clear', '--all', '--yes'], world)).toMatchObject({ code: 0 })

  // Who may not ask whether it is one.
  const { keys: all } = await count()
  for (const node of cluster.nodes) {
    const client = new Redis(node.url)
    await client.acl('SETUSER', 'default', '-cluster|info')
    client.disconnect()
  }
  expect(await count()).toMatchObject({ keys: all })

  // A part of it must not pass for the whole, and is told all the same.
  const [lost] = cluster.nodes
  const slotsOfOthers = (id: number): boolean => ownerOf(`shop:things:${id}`, 3) !== 0
  const elsewhere = Array.from({ length: 100 }, (_, id) => id).find((id) => id >= 40 && slotsOfOthers(id))!
  await lost!.kill()
  expect(await corral(['keys'], world)).toMatchObject({
    code: 1,
    err: expect.stringContaining(`127.0.0.1:${lost!.port}`) as string
  })
  const stats = await corral(['stats', '--json'], world)
  expect([stats.code, stats.err]).toEqual([
    1,
    expect.stringContaining(`127.0.0.1:${lost!.port} says nothing`)
  ])
  expect(JSON.parse(stats.out)).toMatchObject({
    servers: [{}, {}],
    silent: [{ node: `127.0.0.1:${lost!.port}` }]
  })
  const top = await corral(['top', '--once', '--json', '--interval', '10ms'], world)
  expect([top.code, JSON.parse(top.out)]).toMatchObject([0, [{}, {}]])
  expect(await corral(['invalidate', `things:${elsewhere}`, '--yes'], world)).toMatchObject({ code: 0 })
  expect(await corral(['clear', '--all', '--dry-run'], world)).toMatchObject({
    code: 0,
    err: `127.0.0.1:${lost!.port} does not answer: what it has is not counted.\n`
  })
})

/** Of so many nodes to which redis-cli has given slots in order. */
function ownerOf(key: string, nodes: number): number {
  return Math.floor(keySlot(key) / (16_384 / nodes))
}

function newGate(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
