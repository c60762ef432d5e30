import { deepStrictEqual, fail } from 'node:assert/strict'

const reached = new Set<string>()

/** What `// => value` in an example becomes. */
export function holds(actual: unknown, expected: unknown, place: string): void {
  reached.add(place)
  try {
    deepStrictEqual(actual, expected)
  } catch (error) {
    throw new Error(`${place} does not hold: ${(error as Error).message}`)
  }
}

/** What `// => throws CODE` becomes. */
export async function throws(work: () => Promise<unknown>, code: string, place: string): Promise<void> {
  reached.add(place)
  let answer: unknown
  try {
    answer = await work()
  } catch (error) {
    return holds((error as { code?: unknown }).code, code, place)
  }
  fail(`${place} did not throw ${code} but gave ${JSON.stringify(answer)}`)
}

/** At the end of an example: a claim in a branch that was not taken, or in a callback that nobody called, was not held. */
export function wereReached(places: readonly string[]): void {
  const missed = places.filter((place) => !reached.has(place))
  if (missed.length > 0) fail(`${missed.join(', ')}: the example ended without coming there`)
}
