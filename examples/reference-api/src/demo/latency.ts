import type { Answer, Catalogue } from '../catalogue.js'
import { percentile } from './report.js'

export interface Latency {
  readonly what: string
  readonly cold: Spread
  readonly warm: Spread
}

export interface Spread {
  readonly medianMs: number
  readonly p99Ms: number
  readonly samples: number
}

/** How often each is measured: enough for a 99th percentile of the quick ones, and a few seconds for the slow one. */
const FILMS = 500
const WARM_ROUNDS = 4
const COLD_PAGES = 20
const WARM_PAGES = 1000

/**
 * The same calls, one after the other, while the cache is empty and then from it. Which of the two it was is not
 * assumed: each answer says where it came from.
 */
export async function measureLatency(
  catalogue: Catalogue,
  emptyCache: () => Promise<void>
): Promise<Latency[]> {
  const ids = Array.from({ length: FILMS }, (_, index) => index + 1)
  const film = (id: number) => (): Promise<Answer<unknown>> => catalogue.product(id, undefined)
  const page = (): Promise<Answer<unknown>> => catalogue.homepage(undefined)

  // Connections and compiled code first, so that neither side pays for them.
  for (const id of ids) await film(id)()
  await page()
  await emptyCache()

  const coldFilms: number[] = []
  const warmFilms: number[] = []
  for (const id of ids) coldFilms.push(await time('database', film(id)))
  for (let round = 0; round < WARM_ROUNDS; round++) {
    for (const id of ids) warmFilms.push(await time('cache', film(id)))
  }

  const coldPages: number[] = []
  const warmPages: number[] = []
  for (let count = 0; count < COLD_PAGES; count++) {
    await emptyCache()
    coldPages.push(await time('database', page))
  }
  for (let count = 0; count < WARM_PAGES; count++) warmPages.push(await time('cache', page))

  return [
    { what: 'one film', cold: spreadOf(coldFilms), warm: spreadOf(warmFilms) },
    { what: 'the home page', cold: spreadOf(coldPages), warm: spreadOf(warmPages) }
  ]
}

async function time(expected: 'cache' | 'database', call: () => Promise<Answer<unknown>>): Promise<number> {
  const startedAt = performance.now()
  const { source } = await call()
  const ms = performance.now() - startedAt
  if (source !== expected) throw new Error(`An answer expected from the ${expected} came from the ${source}`)
  return ms
}

function spreadOf(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b)
  return { medianMs: percentile(sorted, 50), p99Ms: percentile(sorted, 99), samples: sorted.length }
}
