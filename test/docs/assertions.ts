import { deepStrictEqual, fail } from 'node:assert/strict'

/** What `// => value` in an example becomes. */
export function holds(actual: unknown, expected: unknown, place: string): void {
  try {
    deepStrictEqual(actual, expected)
  } catch (error) {
    throw new Error(`${place} does not hold: ${(error as Error).message}`)
  }
}

/** What `// => throws CODE` becomes. */
export async function throws(work: () => Promise<unknown>, code: string, place: string): Promise<void> {
  let answer: unknown
  try {
    answer = await work()
  } catch (error) {
    return holds((error as { code?: unknown }).code, code, place)
  }
  fail(`${place} did not throw ${code} but gave ${JSON.stringify(answer)}`)
}
