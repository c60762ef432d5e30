/**
 * How long does it take to declare many entries wrong, and what does that do to Redis?
 *
 *     npx tsx benchmarks/clear.ts [--quick]
 */
import { Redis } from 'ioredis'
import { createCache } from 'corral'
import { startRedisServer } from '../test/support/redis-server.js'
import { keep } from './keep.js'
import { barsOf, tableMarkdown, type ClearLine, type ClearResult } from './reports/clear.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { spreadOf } from './support/statistics.js'

const { quick } = optionsOf({})

const KEYSPACE = quick ? 100_000 : 1_000_000
const TENANT_ENTRIES = 10_000
const TAGGED = quick ? 10_000 : 100_000
const ROUNDS = quick ? 3 : 10
const SAMPLE = 200
/** What Redis notes as slow. */
const SLOW_US = 1_000
/** Whose entries must stay: ids that look like the cleared one, or like a pattern. */
const NEIGHBOURS = ['10', 'a:b', 'a*', '{x}', '1*', '*']

await using server = await startRedisServer()
const admin = new Redis(server.url)
const meter = new RedisMeter(server.url)
await using writing = closing(createCache({ redis: server.url, namespace: 'clear', commandTimeout: '5s' }))
await using reading = closing(createCache({ redis: server.url, namespace: 'clear', commandTimeout: '5s' }))

let version = 1
const load = (id: number): string => `${version}:${id} ${'x'.repeat(100)}`
const options = { ttl: '1h', jitter: 0, earlyRefresh: 0, load } as const
const pages = writing.cache.collection('pages', options)
const readPages = reading.cache.collection('pages', options)
const tagged = writing.cache.collection('tagged', { ...options, tags: () => ['all'] })
const readTagged = reading.cache.collection('tagged', { ...options, tags: () => ['all'] })

const progress = startProgress(1 + 2 * ROUNDS)
progress.step(`filling ${KEYSPACE} keys`)
await fillKeyspace()
const tenant = await clearTenant()
const tag = await invalidateTag()
progress.end()
const result: ClearResult = {
  circumstances: circumstances(await meter.version(), ['ioredis']),
  settings: {
    keyspace: KEYSPACE,
    tenantEntries: TENANT_ENTRIES,
    tagged: TAGGED,
    rounds: ROUNDS,
    sample: SAMPLE
  },
  tenant,
  tag
}
meter.close()
admin.disconnect()
console.log(`\n${tableMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('clear', result, quick)

async function clearTenant(): Promise<ClearLine> {
  const ids = Array.from({ length: TENANT_ENTRIES }, (_, id) => id)
  const [took, cleaned]: [number[], number[]] = [[], []]
  let [stale, slowest, lost] = [0, 0, 0]
  for (const neighbour of NEIGHBOURS) await pages.tenant(neighbour).getMany([1, 2, 3])
  for (let round = 0; round < ROUNDS; round++) {
    progress.step(`tenant, ${round + 1} of ${ROUNDS}`)
    await pages.tenant('1').getMany(ids)
    await readPages.tenant('1').getMany(ids.slice(0, SAMPLE))
    const before = version++
    await admin.config('SET', 'slowlog-log-slower-than', SLOW_US)
    await admin.slowlog('RESET')
    const startedAt = performance.now()
    const cleaning = await writing.cache.tenant('1').clear()
    took.push(performance.now() - startedAt)
    const seen = await Promise.all([
      ...ids.slice(0, SAMPLE).map((id) => readPages.tenant('1').get(id)),
      ...ids.slice(-SAMPLE).map((id) => pages.tenant('1').peek(id))
    ])
    stale += seen.filter((page) => page?.startsWith(`${before}:`)).length
    const report = await cleaning.finished
    const { durationMs, removed } = report
    cleaned.push(durationMs)
    if (removed < TENANT_ENTRIES - 2 * SAMPLE)
      throw new Error(
        `Only ${removed} entries were removed: ${JSON.stringify(report)} ${String(report.error)}`
      )
    slowest = Math.max(slowest, await slowestCommandMs())
    for (const neighbour of NEIGHBOURS) {
      const left = await Promise.all([1, 2, 3].map((id) => pages.tenant(neighbour).peek(id)))
      lost += left.filter((page) => page === undefined).length
    }
  }
  return { tookMs: spreadOf(took), cleanedMs: spreadOf(cleaned), slowestCommandMs: slowest, stale, lost }
}

async function invalidateTag(): Promise<ClearLine> {
  const took: number[] = []
  let stale = 0
  for (let round = 0; round < ROUNDS; round++) {
    progress.step(`tag, ${round + 1} of ${ROUNDS}`)
    for (let from = 0; from < TAGGED; from += 5_000) {
      await tagged.getMany(Array.from({ length: Math.min(5_000, TAGGED - from) }, (_, at) => from + at))
    }
    const ids = Array.from({ length: SAMPLE }, (_, at) => Math.floor((at * TAGGED) / SAMPLE))
    await readTagged.getMany(ids)
    const before = version++
    const startedAt = performance.now()
    await writing.cache.invalidateTags(['all'])
    took.push(performance.now() - startedAt)
    const seen = await Promise.all(ids.map((id) => readTagged.get(id)))
    stale += seen.filter((page) => page?.startsWith(`${before}:`)).length
  }
  return { tookMs: spreadOf(took), cleanedMs: undefined, slowestCommandMs: undefined, stale, lost: 0 }
}

/** Entries of many tenants, as bytes: they only have to be there. */
async function fillKeyspace(): Promise<void> {
  await pages.tenant('0').get(0)
  const bytes = await admin.getBuffer('clear:tenant:%270%27:pages:0')
  const frame = bytes ?? Buffer.alloc(200)
  const AT_ONCE = 5_000
  for (let from = 0; from < KEYSPACE; from += AT_ONCE) {
    const pipeline = admin.pipeline()
    for (let at = from; at < from + AT_ONCE; at++) {
      pipeline.set(`clear:tenant:t${at % 1_000}:pages:${at}`, frame, 'PX', 3_600_000)
    }
    await pipeline.exec()
  }
}

async function slowestCommandMs(): Promise<number> {
  const log = (await admin.slowlog('GET', 1_000)) as [
    unknown,
    unknown,
    microseconds: number,
    command: string[]
  ][]
  return Math.max(0, ...log.map(([, , microseconds]) => microseconds / 1000))
}

function closing<T extends { close(): Promise<void> }>(cache: T): { cache: T } & AsyncDisposable {
  return { cache, [Symbol.asyncDispose]: () => cache.close() }
}
