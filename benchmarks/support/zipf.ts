/** A generator of its own, so that every contender of a round asks for the same ids in the same order. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** `count` ids from 0 to `keys` - 1, of which id n is asked for in proportion to 1 / (n + 1)^skew. */
export function zipfIds(keys: number, skew: number, count: number, random: () => number): Uint32Array {
  const upTo = new Float64Array(keys)
  let sum = 0
  for (let id = 0; id < keys; id++) upTo[id] = sum += (id + 1) ** -skew
  return Uint32Array.from({ length: count }, () => firstAbove(upTo, random() * sum))
}

/** Batches of `size` distinct ids each, drawn the same way. */
export function zipfBatches(
  keys: number,
  skew: number,
  size: number,
  count: number,
  random: () => number
): number[][] {
  const ids = zipfIds(keys, skew, count * size * 4, random)
  let at = 0
  return Array.from({ length: count }, () => {
    const batch = new Set<number>()
    while (batch.size < size) batch.add(ids[at++ % ids.length]!)
    return [...batch]
  })
}

function firstAbove(sorted: Float64Array, wanted: number): number {
  let [low, high] = [0, sorted.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]! > wanted) high = middle
    else low = middle + 1
  }
  return low
}
