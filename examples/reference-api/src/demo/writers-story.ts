import type pg from 'pg'
import { MAIN_SHOP } from '../store/movie-store.js'
import { count, duration, percentile, table } from './report.js'
import { step } from './step.js'

interface WayToWrite {
  readonly name: string
  /** Of the film, for GET and PUT; those of rivals.ts and of the API itself. */
  readonly path: string
}

const WAYS: readonly WayToWrite[] = [
  { name: 'UPDATE, then SET EX', path: '/demo/blog/products' },
  { name: 'Corral', path: '/api/products' }
]

export interface WritersStage {
  readonly urls: readonly string[]
  readonly rounds: number
  readonly database: pg.Client
}

interface RaceOutcome {
  readonly way: WayToWrite
  readonly rounds: number
  /** Rounds after which a reader was answered with something else than the row. */
  readonly different: number
  /** Of a change, in order, in milliseconds. */
  readonly latenciesMs: readonly number[]
}

const FILM = 42

/**
 * Two processes change row and cache of one film in the same moment. Whoever was last at the row has to be last in the
 * cache as well; with two separate steps nothing sees to that.
 */
export async function raceWriters(stage: WritersStage): Promise<string> {
  const outcomes: RaceOutcome[] = []
  for (const way of WAYS) outcomes.push(await raceOn(way, stage))
  return table(
    ['one film, two writers', 'rounds', 'cache and row differ', 'a change: median', 'p99'],
    outcomes.map(({ way, rounds, different, latenciesMs }) => [
      way.name,
      count(rounds),
      count(different),
      duration(percentile(latenciesMs, 50)),
      duration(percentile(latenciesMs, 99))
    ])
  )
}

function raceOn(way: WayToWrite, { urls, rounds, database }: WritersStage): Promise<RaceOutcome> {
  return step(`${way.name}: ${count(rounds)} rounds of two writers`, async ({ say, done }) => {
    const [first = '', second = first] = urls.map((url) => `${url}${way.path}/${FILM}`)
    const latenciesMs: number[] = []
    let different = 0
    for (let round = 1; round <= rounds; round++) {
      latenciesMs.push(...(await Promise.all([putPrice(first, 2 * round), putPrice(second, 2 * round + 1)])))
      const reader = round % 2 === 0 ? first : second
      if ((await priceFor(reader)) !== (await priceInRow(database))) different++
      say(`${count(round)} rounds, ${count(different)} differ`)
    }
    done(`${way.name}: cache and row differ after ${count(different)} of ${count(rounds)} rounds`)
    latenciesMs.sort((a, b) => a - b)
    return { way, rounds, different, latenciesMs }
  })
}

async function putPrice(url: string, priceCents: number): Promise<number> {
  const startedAt = performance.now()
  const response = await fetch(url, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ priceCents, stock: 1 })
  })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`PUT ${url} was answered with ${response.status}: ${text}`)
  return performance.now() - startedAt
}

async function priceFor(url: string): Promise<number> {
  const { data } = (await (await fetch(url)).json()) as { data: { priceCents: number } }
  return data.priceCents
}

async function priceInRow(database: pg.Client): Promise<number | undefined> {
  const { rows } = await database.query<{ priceCents: number }>(
    'select price_cents as "priceCents" from movie_store.offers where shop_id = $1 and product_id = $2',
    [MAIN_SHOP, FILM]
  )
  return rows[0]?.priceCents
}
