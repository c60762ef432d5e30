import { InvalidOptionError, WritesFailedError } from '../errors.js'
import { ConcurrencyLimit } from '../policy/concurrency-limit.js'

/** About as many as a database pool has connections. */
const WRITES_AT_ONCE = 20

/**
 * Puts many, a few at a time. Rejects with `WritesFailedError`, which has the reason of each, once all are over, when some
 * failed.
 */
export async function putEach<Id, Value, Written>(
  pairs: readonly (readonly [Id, Value])[],
  keyOf: (id: Id) => string,
  put: (id: Id, value: Value) => Promise<Written>
): Promise<Map<Id, Written>> {
  const limit = new ConcurrencyLimit(WRITES_AT_ONCE, Number.POSITIVE_INFINITY)
  // Of several for one entry the last is to be the one that stays, so they go one after the other.
  const lastOf = new Map<string, Promise<unknown>>()
  const putInTurn = async ([id, value]: readonly [Id, Value]): Promise<Written> => {
    const key = keyOf(id)
    const putting = Promise.resolve(lastOf.get(key)).then(() => put(id, value))
    lastOf.set(key, putting.catch(reported))
    return putting
  }
  const results = await Promise.allSettled(pairs.map((pair) => limit.run(() => putInTurn(pair))))
  const written = new Map<Id, Written>()
  const failures = new Map<unknown, unknown>()
  for (const [index, result] of results.entries()) {
    const [id] = pairs[index]!
    if (result.status === 'fulfilled') written.set(id, result.value)
    else failures.set(id, result.reason)
  }
  if (failures.size > 0) throw new WritesFailedError(failures, pairs.length)
  return written
}

export function checkedPair<Id, Value>(pair: readonly [Id, Value]): readonly [Id, Value] {
  if (Array.isArray(pair) && pair.length === 2) return pair
  throw new InvalidOptionError('entries', pair, 'pairs of an id and a value, such as a Map')
}

/** It is among the results. */
function reported(): void {}
