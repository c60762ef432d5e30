/**
 * Which of a queue's shards are whose: dealt out in turn over the names in order, so that every worker comes to the same
 * answer without asking, and has its part give or take one. The first name differs between queues, so that many queues of one
 * shard do not all end up with one worker.
 */
export function shardsOfWorker(
  worker: string,
  workers: readonly string[],
  queue: string,
  shards: number
): number[] {
  const names = [...new Set(workers)].sort()
  const place = names.indexOf(worker)
  if (place === -1) return []
  const first = sumOfUnits(queue) % names.length
  return Array.from({ length: shards }, (_, shard) => shard).filter(
    (shard) => (first + shard) % names.length === place
  )
}

function sumOfUnits(text: string): number {
  let sum = 0
  for (let index = 0; index < text.length; index++) sum += text.charCodeAt(index)
  return sum
}
