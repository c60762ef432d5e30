import { LRUCache } from 'lru-cache'
import type { CounterGuard, Counters } from './counters.js'

interface Counter {
  hard: number
  soft: number
  writers: { token: string; untilMs: number }[]
}

/** One that is pushed out is missing, and what was stored under it is outdated. */
const MOST = 100_000

/** Counters in this process, for a cache without Redis: the steps of the scripts in `redis/lua/`. */
export class LocalCounters implements Counters {
  readonly #nowMs: () => number
  readonly #counters = new LRUCache<string, Counter>({ max: MOST })

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  async ask(keys: readonly string[]): Promise<readonly (string | null)[]> {
    return keys.map((key) => {
      const counter = this.#counters.get(key)
      return counter === undefined ? null : textOf(counter)
    })
  }

  async ensure(key: string, firstUs: number | undefined): Promise<string> {
    const counter = this.#counters.get(key) ?? this.#made(key, firstUs)
    this.#dropLostWriters(counter)
    return textOf(counter)
  }

  async move(key: string, how: 'hard' | 'soft' | 'raise', leastUs: number | undefined): Promise<string> {
    const least = leastUs ?? this.#nowUs()
    const counter = this.#counters.get(key)
    if (counter === undefined) return textOf(this.#made(key, least))
    if (how === 'soft') counter.soft = Math.max(counter.soft + 1, least)
    else if (how === 'hard' || counter.hard < least) moveHard(counter, least)
    return textOf(counter)
  }

  async guard(key: string, { token, guardMs, renewal, leastUs }: CounterGuard): Promise<string | undefined> {
    const least = leastUs ?? this.#nowUs()
    const known = this.#counters.get(key)
    if (known === undefined && renewal) return undefined
    const counter = known ?? this.#made(key, least)
    this.#dropLostWriters(counter)
    if (renewal && !counter.writers.some((writer) => writer.token === token)) return undefined
    counter.writers = counter.writers.filter((writer) => writer.token !== token)
    if (guardMs > 0) counter.writers.push({ token, untilMs: Math.ceil(this.#nowMs() + guardMs) })
    if (!renewal) moveHard(counter, least)
    return textOf(counter)
  }

  #made(key: string, firstUs: number | undefined): Counter {
    const value = firstUs ?? this.#nowUs()
    const counter = { hard: value, soft: value, writers: [] }
    this.#counters.set(key, counter)
    return counter
  }

  #dropLostWriters(counter: Counter): void {
    const left = counter.writers.filter(({ untilMs }) => untilMs > this.#nowMs())
    if (left.length < counter.writers.length) moveHard(counter, this.#nowUs())
    counter.writers = left
  }

  /** Never 0, which stands for "missing". */
  #nowUs(): number {
    return Math.floor(this.#nowMs() * 1000) + 1
  }
}

function moveHard(counter: Counter, least: number): void {
  counter.hard = Math.max(counter.hard + 1, counter.soft + 1, least)
  counter.soft = counter.hard
}

function textOf({ hard, soft, writers }: Counter): string {
  return [`${hard}:${soft}`, ...writers.map(({ token, untilMs }) => `${token}@${untilMs}`)].join(':')
}
