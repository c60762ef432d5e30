/**
 * What does a hit cost to decode, and which serializer and compressor are worth it?
 *
 *     npx tsx benchmarks/codec.ts [--quick]
 *
 * Every candidate reads from a Buffer that is a view into a larger chunk, as replies from Redis are. Candidates take
 * turns in each round, so a disturbance hits all of them; the figure is the median over the rounds.
 */
import assert from 'node:assert'
import { cpus } from 'node:os'
import { promisify } from 'node:util'
import v8 from 'node:v8'
import zlib from 'node:zlib'
import * as cbor from 'cbor-x'
import * as devalue from 'devalue'
import { Packr } from 'msgpackr'
import superjson from 'superjson'
import { isShareable, PayloadCodec, type EncodedPayload } from '../src/codec/codec.js'
import { versionsOf } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'

const { quick } = optionsOf({})

const ROUNDS = quick ? 3 : 15
const ROUND_MS = quick ? 1 : 6

interface Candidate {
  readonly name: string
  readonly encode: (value: unknown) => Buffer
  readonly decode: (bytes: Buffer) => unknown
  /** Not for values with a Date in them, or for them alone. */
  readonly only?: 'plain' | 'dates'
}

const codec = new PayloadCodec({ compressAboveBytes: Infinity, maxValueBytes: Infinity })
const encodeSync = (value: unknown): EncodedPayload => {
  const payload = codec.encode(value)
  if (payload instanceof Promise) throw new Error('unexpectedly compressed')
  return payload
}
const records = new Packr({ structuredClone: false, moreTypes: true })
const frozenRecords = new Packr({ structuredClone: false, moreTypes: true, freezeData: true } as object)
const cborRecords = new cbor.Encoder({ structuredClone: false })

const candidates: Candidate[] = [
  {
    name: 'corral (frozen)',
    only: 'plain',
    encode: (value) => encodeSync(value).bytes,
    decode: (bytes) => codec.decode(1, bytes)
  },
  {
    name: 'corral (mutable)',
    encode: (value) => encodeSync(value).bytes,
    decode: (bytes) => codec.decode(0, bytes)
  },
  { name: 'JSON', only: 'plain', encode: toJson, decode: (bytes) => JSON.parse(bytes.toString()) },
  {
    name: 'JSON, then freeze',
    only: 'plain',
    encode: toJson,
    decode: (bytes) => deepFreeze(JSON.parse(bytes.toString()))
  },
  {
    name: 'JSON, then revive the dates',
    only: 'dates',
    encode: toJson,
    decode: (bytes) => reviveDates(JSON.parse(bytes.toString()))
  },
  {
    name: 'msgpackr records',
    encode: (value) => Buffer.from(records.pack(value)),
    decode: (bytes) => records.unpack(bytes)
  },
  {
    name: 'msgpackr records, freezing',
    only: 'plain',
    encode: (value) => Buffer.from(frozenRecords.pack(value)),
    decode: (bytes) => frozenRecords.unpack(bytes)
  },
  {
    name: 'cbor-x records',
    encode: (value) => Buffer.from(cborRecords.encode(value)),
    decode: (bytes) => cborRecords.decode(bytes)
  },
  { name: 'v8.serialize', encode: (value) => v8.serialize(value), decode: (bytes) => v8.deserialize(bytes) },
  {
    name: 'devalue',
    encode: (value) => Buffer.from(devalue.stringify(value)),
    decode: (bytes) => devalue.parse(bytes.toString())
  },
  {
    name: 'superjson',
    encode: (value) => Buffer.from(superjson.stringify(value)),
    decode: (bytes) => superjson.parse(bytes.toString())
  }
]

const samples: Record<string, unknown> = {
  'one row, 200 B': film(7),
  'one row with dates': datedFilm(7),
  'one page, 2 KiB': {
    ...film(7),
    synopsis: 'A long story, told well. '.repeat(20),
    related: times(5, film)
  },
  '10 rows with dates, 2 KiB': times(10, datedFilm),
  '220 rows, 50 KiB': times(220, film),
  '220 rows with dates, 50 KiB': times(220, datedFilm),
  'one text, 50 KiB': { html: '<p class="story">It was a dark and stormy night.</p>'.repeat(1000) }
}

console.log(
  `${cpus()[0]?.model.trim()}, ${cpus().length} cores; Node ${process.version}, V8 ${process.versions.v8}`
)
const versions = versionsOf(['msgpackr', 'cbor-x', 'devalue', 'superjson'])
console.log(
  `${Object.entries(versions)
    .map((one) => one.join(' '))
    .join(', ')}\n`
)
const COMPRESSED = { '600 rows serialized': 600, '3,000 rows serialized': 3_000 }
const progress = startProgress(Object.keys(samples).length + Object.keys(COMPRESSED).length)
for (const [name, value] of Object.entries(samples)) {
  progress.step(name)
  compareSerializers(name, value)
}
await compareCompressors()
progress.end()

function compareSerializers(name: string, value: unknown): void {
  const kind = isShareable(encodeSync(value).flags) ? 'plain' : 'dates'
  const chosen = candidates.filter(({ only }) => only === undefined || only === kind)
  const views = chosen.map(({ encode }) => viewIntoChunk(encode(value)))
  chosen.forEach(({ decode }, index) => assert.deepStrictEqual(decode(views[index]!), value))

  const decodeUs = medians(
    chosen.map(
      ({ decode }, index) =>
        () =>
          decode(views[index]!)
    )
  )
  const encodeUs = medians(
    chosen.map(
      ({ encode }) =>
        () =>
          encode(value)
    )
  )
  console.log(`## ${name}\n`)
  console.log(
    '|                             |  decode |          |  encode |          |   bytes |          |'
  )
  console.log(
    '| :-------------------------- | ------: | -------: | ------: | -------: | ------: | -------: |'
  )
  chosen.forEach((candidate, index) => {
    const cells = [
      [decodeUs[index]!, decodeUs[0]!, 'µs'],
      [encodeUs[index]!, encodeUs[0]!, 'µs'],
      [views[index]!.length, views[0]!.length, 'B']
    ] as const
    const columns = cells.map(([figure, reference, unit]) =>
      `${`×${(figure / reference).toFixed(2)}`.padStart(7)} | ${`${round(figure)} ${unit}`.padStart(8)}`.padEnd(
        18
      )
    )
    console.log(`| ${candidate.name.padEnd(27)} | ${columns.join(' | ')} |`)
  })
  console.log()
}

async function compareCompressors(): Promise<void> {
  const { BROTLI_PARAM_QUALITY: quality } = zlib.constants
  const chunkSize = 128 * 1024
  const deflateRaw = (level: number, options: zlib.ZlibOptions = { chunkSize }) => ({
    name: `deflate-raw ${level}`,
    compress: (bytes: Buffer) => promisify(zlib.deflateRaw)(bytes, { level, ...options }),
    decompress: (bytes: Buffer) => promisify(zlib.inflateRaw)(bytes, options)
  })
  const brotli = (level: number) => ({
    name: `brotli ${level}`,
    compress: (bytes: Buffer) =>
      promisify(zlib.brotliCompress)(bytes, { chunkSize, params: { [quality]: level } }),
    decompress: (bytes: Buffer) => promisify(zlib.brotliDecompress)(bytes, { chunkSize })
  })
  const gzip = {
    name: 'gzip 6',
    compress: (bytes: Buffer) => promisify(zlib.gzip)(bytes, { chunkSize }),
    decompress: (bytes: Buffer) => promisify(zlib.gunzip)(bytes, { chunkSize })
  }
  const compressors = [
    ...[1, 3, 6].map((level) => deflateRaw(level)),
    { ...deflateRaw(3, {}), name: 'deflate-raw 3, 16 KiB chunks' },
    gzip,
    ...[1, 4, 5].map(brotli)
  ]
  for (const [name, rows] of Object.entries(COMPRESSED)) {
    progress.step(name)
    const { bytes } = encodeSync(times(rows, datedFilm))
    console.log(`## compression of ${name}, ${round(bytes.length / 1024)} KiB\n`)
    console.log('|                              | decompress |  compress |   bytes left |')
    console.log('| :--------------------------- | ---------: | --------: | -----------: |')
    for (const { name: compressor, compress, decompress } of compressors) {
      const compressed = await compress(bytes)
      const back = await medianMs(() => decompress(compressed))
      const forth = await medianMs(() => compress(bytes))
      const share = `${((100 * compressed.length) / bytes.length).toFixed(0)} %`
      console.log(
        `| ${compressor.padEnd(28)} | ${`${back.toFixed(2)} ms`.padStart(10)} | ${`${forth.toFixed(2)} ms`.padStart(9)} | ${share.padStart(12)} |`
      )
    }
    console.log()
  }
}

/** Median µs of each task, the tasks taking turns. */
function medians(tasks: readonly (() => unknown)[]): number[] {
  const repetitions = tasks.map(repetitionsForARound)
  const rounds = tasks.map((): number[] => [])
  for (let turn = 0; turn < ROUNDS; turn++) {
    tasks.forEach((task, index) => {
      const start = performance.now()
      for (let count = repetitions[index]!; count > 0; count--) task()
      rounds[index]!.push(((performance.now() - start) / repetitions[index]!) * 1000)
    })
  }
  return rounds.map(median)
}

/** Warms a task up, and finds how often it fits into a round. */
function repetitionsForARound(task: () => unknown): number {
  const start = performance.now()
  let count = 0
  while (performance.now() - start < 10 * ROUND_MS) {
    task()
    count++
  }
  return Math.ceil(count / 10)
}

async function medianMs(task: () => Promise<unknown>): Promise<number> {
  const took: number[] = []
  for (let turn = 0; turn < ROUNDS; turn++) {
    const start = performance.now()
    await task()
    took.push(performance.now() - start)
  }
  return median(took)
}

function median(figures: number[]): number {
  return figures.toSorted((a, b) => a - b)[figures.length >> 1]!
}

function film(id: number) {
  return {
    id,
    slug: `film-${(id * 7919) % 100_000}`,
    title: `The ${id}th Adventure`,
    studio: `Studio ${id % 17}`,
    price: 9.99 + id,
    stock: (id * 31) % 5000,
    available: id % 3 > 0,
    rating: 7.5,
    tagline: `Some adventures end; number ${id} does not`,
    director: id % 5 === 0 ? null : `Director ${id % 40}`
  }
}

function datedFilm(id: number) {
  return {
    ...film(id),
    createdAt: new Date(1_700_000_000_000 + id * 1_234_567),
    updatedAt: new Date(1_710_000_000_000 + id * 7_654_321)
  }
}

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}

function toJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function viewIntoChunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(46), bytes, Buffer.alloc(10)]).subarray(46, 46 + bytes.length)
}

function deepFreeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  for (const key in value) {
    const inner: unknown = (value as Record<string, unknown>)[key]
    if (typeof inner === 'object') deepFreeze(inner)
  }
  return Object.freeze(value)
}

/** The least that JSON needs for dates, knowing which columns they are. */
function reviveDates(value: ReturnType<typeof datedFilm> | ReturnType<typeof datedFilm>[]): unknown {
  for (const row of Array.isArray(value) ? value : [value]) {
    row.createdAt = new Date(row.createdAt)
    row.updatedAt = new Date(row.updatedAt)
  }
  return value
}

function round(figure: number): string {
  return figure >= 100 ? figure.toFixed(0) : figure >= 10 ? figure.toFixed(1) : figure.toFixed(2)
}
