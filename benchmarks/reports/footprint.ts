import { CORRAL } from '../contenders/contender.js'
import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'

export interface FootprintResult {
  readonly circumstances: Circumstances
  readonly settings: {
    readonly redisKeys: number
    readonly memoryKeys: number
    readonly memoryRounds: number
    readonly starts: number
  }
  /** A row as JSON, by its shape. */
  readonly jsonBytes: Readonly<Record<string, number>>
  readonly redis: readonly RedisFootprint[]
  readonly memory: readonly MemoryFootprint[]
  readonly installations: readonly Installation[]
}

/** Of one entry. */
export interface RedisFootprint {
  readonly name: string
  readonly shape: string
  /** By how much `used_memory` grew. */
  readonly usedBytes: number
  /** `MEMORY USAGE` of all its keys. */
  readonly memoryUsageBytes: number
  readonly keysPerEntry: number
}

export interface MemoryFootprint {
  readonly name: string
  readonly shape: string
  /** Of one entry, on the heap and beside it. */
  readonly bytes: Spread
}

export interface Installation {
  readonly name: string
  /** What its imports add to the start of a process. */
  readonly startMs: Spread
  /** On the disk, with all that it depends on and the Redis client. */
  readonly bytes: number
  readonly packages: number
}

export function tablesMarkdown({
  jsonBytes,
  redis,
  memory,
  installations
}: Omit<FootprintResult, 'circumstances' | 'settings'>): string {
  const shapes = Object.keys(jsonBytes)
  const namesOf = (lines: readonly { name: string }[]): string[] => [
    ...new Set(lines.map(({ name }) => name))
  ]
  const redisOf = (name: string, shape: string): RedisFootprint =>
    redis.find((line) => line.name === name && line.shape === shape)!
  const memoryOf = (name: string, shape: string): MemoryFootprint =>
    memory.find((line) => line.name === name && line.shape === shape)!
  const [small] = shapes as [string]
  const inRedis = table(
    [
      'bytes of an entry in Redis',
      'keys',
      ...shapes.flatMap((shape) => [`${shape}: used_memory`, 'MEMORY USAGE'])
    ],
    namesOf(redis)
      .toSorted((a, b) => redisOf(a, small).usedBytes - redisOf(b, small).usedBytes)
      .map((name) => [
        marked(name),
        String(redisOf(name, small).keysPerEntry),
        ...shapes.flatMap((shape) => {
          const { usedBytes, memoryUsageBytes } = redisOf(name, shape)
          return [usedBytes.toFixed(0), memoryUsageBytes.toFixed(0)]
        })
      ])
  )
  const inMemory = table(
    ['bytes of an entry in the process', ...shapes],
    namesOf(memory)
      .toSorted((a, b) => memoryOf(a, small).bytes.median - memoryOf(b, small).bytes.median)
      .map((name) => [marked(name), ...shapes.map((shape) => range(memoryOf(name, shape).bytes, 0))])
  )
  const onDisk = table(
    ['', 'start, ms', 'installed, kB', 'packages'],
    installations
      .toSorted((a, b) => a.startMs.median - b.startMs.median)
      .map(({ name, startMs, bytes, packages }) => [
        marked(name),
        range(startMs, 1),
        (bytes / 1_000).toFixed(0),
        String(packages)
      ])
  )
  return [inRedis, inMemory, onDisk].join('\n\n')
}

export function footprintMarkdown(result: FootprintResult): string {
  const { redisKeys, memoryKeys, memoryRounds, starts } = result.settings
  const sizes = Object.entries(result.jsonBytes).map(([shape, bytes]) => `${bytes} bytes for ${shape}`)
  return [
    '## What does an entry take, and what does an installation?',
    `In Redis: by how much \`used_memory\` grew for ${redisKeys} entries more with a TTL, connections not counted, and what \`MEMORY USAGE\` says ` +
      'of the keys. In the process: by how much the heap and what lies beside it have grown after a garbage collection, ' +
      `for ${memoryKeys} entries more in the tier in memory; median of ${memoryRounds} rounds, in brackets the lowest and the highest. Rows as ` +
      `JSON have ${sizes.join(' and ')}. What a value takes as an object is more; who keeps text in memory pays with decoding ` +
      'it at each hit. Start: what the imports of a set-up with Redis add to `node -e ""`, ' +
      `median of ${starts} starts. Installed: the packages of that set-up with all their dependencies, Redis client included.`,
    tablesMarkdown(result)
  ].join('\n\n')
}

function marked(name: string): string {
  return name === CORRAL ? `**${name}**` : name
}

function range({ median, min, max }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`
}
