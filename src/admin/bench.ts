import { randomBytes } from 'node:crypto'
import { scopePrefix } from '../keys/key-parts.js'
import type { Argument, Operator, RedisNode } from '../redis/operator.js'
import { percentilesOf, type Percentiles } from './percentiles.js'

export interface BenchOptions {
  /** Its keys are `<namespace>:#bench:…`, expire after a minute, and are removed at the end. */
  readonly namespace: string
  /** Sizes of values to read, in bytes. */
  readonly sizes: readonly number[]
  /** Callers at the same time. */
  readonly concurrency: number
  /** How long each measurement takes, in milliseconds. */
  readonly durationMs: number
  readonly onStep?: (step: string) => void
}

export interface BenchResult {
  readonly name: string
  readonly valueBytes: number
  /** Calls, which for MGET and pipelines are several keys each. */
  readonly calls: number
  readonly callsPerSecond: number
  readonly keysPerSecond: number
  readonly megabytesPerSecond: number
  /** Of a call, in milliseconds, as the caller waits. */
  readonly latencyMs: Percentiles
}

const KEYS = 64
const KEYS_A_CALL = 32
const KEY_LIFE_MS = 60_000

/** What this Redis gives a cache over this network: each way of reading, for each size, for a moment. */
export async function runBench(operator: Operator, options: BenchOptions): Promise<BenchResult[]> {
  const results: BenchResult[] = []
  const connection = await operator.another()
  const { keyPrefix } = operator
  const prefix = `${scopePrefix(options)}#bench:${randomBytes(4).toString('hex')}:`
  try {
    results.push(await measure('PING, one caller', 0, 1, options, 1, () => connection.call('PING')))
    for (const size of options.sizes) {
      const tag = `${prefix}{${size}}`
      const keys = Array.from({ length: KEYS }, (_, index) => `${keyPrefix}${tag}:${index}`)
      // All keys of a size are in one slot, so in a Cluster one node is measured, and MGET may be used.
      const node = await nodeFor(operator, connection, tag)
      try {
        await fill(node, keys, size)
        results.push(...(await measureSize(node, keys, size, options)))
      } finally {
        await node.pipeline(keys.map((key) => ['UNLINK', key] as const))
      }
    }
    return results
  } finally {
    connection.close()
  }
}

async function nodeFor(operator: Operator, connection: RedisNode, key: string): Promise<RedisNode> {
  return operator.kind === 'cluster' ? operator.nodeOf(key) : connection
}

async function fill(node: RedisNode, keys: readonly string[], size: number): Promise<void> {
  const replies = await node.pipeline(
    keys.map((key): [string, ...Argument[]] => ['SET', key, randomBytes(size), 'PX', KEY_LIFE_MS])
  )
  for (const reply of replies) if (reply instanceof Error) throw reply
}

async function measureSize(
  node: RedisNode,
  keys: readonly string[],
  size: number,
  options: BenchOptions
): Promise<BenchResult[]> {
  const { concurrency } = options
  let turn = 0
  const next = (count: number): string[] => Array.from({ length: count }, () => keys[turn++ % keys.length]!)
  const many = (): Promise<unknown> => node.callBuffer('MGET', ...next(KEYS_A_CALL))
  const piped = (): Promise<unknown> =>
    node.pipeline(
      next(KEYS_A_CALL).map((key) => ['GET', key] as const),
      'bytes'
    )
  const one = (): Promise<unknown> => node.callBuffer('GET', next(1)[0]!)
  return [
    await measure('GET, one caller', size, 1, options, 1, one),
    await measure(`GET, ${concurrency} callers`, size, concurrency, options, 1, one),
    await measure(`MGET of ${KEYS_A_CALL}, one caller`, size, 1, options, KEYS_A_CALL, many),
    await measure(`pipeline of ${KEYS_A_CALL} GET, one caller`, size, 1, options, KEYS_A_CALL, piped)
  ]
}

async function measure(
  name: string,
  valueBytes: number,
  callers: number,
  { durationMs, onStep }: BenchOptions,
  keysACall: number,
  call: () => Promise<unknown>
): Promise<BenchResult> {
  onStep?.(valueBytes === 0 ? name : `${name}, ${valueBytes} bytes`)
  await call()
  const samples: number[] = []
  const startedAt = performance.now()
  const endsAt = startedAt + durationMs
  const caller = async (): Promise<void> => {
    for (let now = performance.now(); now < endsAt; now = performance.now()) {
      await call()
      samples.push(performance.now() - now)
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  const seconds = (performance.now() - startedAt) / 1_000
  const callsPerSecond = samples.length / seconds
  return {
    name,
    valueBytes,
    calls: samples.length,
    callsPerSecond,
    keysPerSecond: callsPerSecond * keysACall,
    megabytesPerSecond: (callsPerSecond * keysACall * valueBytes) / 1e6,
    latencyMs: percentilesOf(samples)
  }
}
