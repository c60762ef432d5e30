/** What to tell someone whose value cannot be cached: where it is, what it is, and what to do. */

/**
 * A path from the root: `$.author.books[3]`; what lies in a Map or Set is counted: `$.prices.entries[2]`.
 *
 * @param containers from the root down
 * @param steps the key or index taken in each; undefined in the last one when that itself is meant
 * @param depth how many of them count
 */
export function formatPath(
  containers: readonly object[],
  steps: readonly (string | number | undefined)[],
  depth: number
): string {
  let path = '$'
  for (let level = 0; level < depth; level++) {
    const step = steps[level]
    if (step !== undefined) path += formatStep(containers[level]!, step)
  }
  return path
}

function formatStep(container: object, step: string | number): string {
  if (container instanceof Map) return `.entries[${step}]`
  if (container instanceof Set) return `.values[${step}]`
  if (typeof step === 'number') return `[${step}]`
  return IDENTIFIER.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`
}

const IDENTIFIER = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u

/** Completes the sentence "The value cannot be cached: $.price …". */
export function reasonToRefuse(value: unknown): string {
  if (typeof value === 'function') return 'is a function; leave it out in the loader'
  if (typeof value === 'symbol') return 'is a symbol; convert it to a string in the loader'
  if (value instanceof Promise) return 'is a Promise; await it in the loader'
  return `is an instance of ${className(value)}; convert it to plain data in the loader`
}

function className(value: unknown): string {
  const { constructor }: { constructor?: unknown } = Object.getPrototypeOf(value)
  return typeof constructor === 'function' && constructor.name !== '' ? constructor.name : 'an unnamed class'
}
