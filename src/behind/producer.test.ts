import { expect, it } from 'vitest'
import { systemClock } from '../clock.js'
import { shardKeys } from '../keys/key-schema.js'
import { Producer } from './producer.js'

it('a batch whose time is over while the shard is full is refused as such, whenever that shows', async () => {
  for (let timeoutMs = 1; timeoutMs <= 12; timeoutMs++) {
    let nowMs = 0
    const producer = new Producer({
      queue: 'events',
      keys: shardKeys('shop', 'events', 0),
      shards: 1,
      shardsKey: 'shards',
      limits: { operations: 1, bytes: 0, ageMs: 0 },
      whenFull: 'wait',
      everyPut: false,
      timeoutMs,
      // Each look at it is later than the one before.
      clock: { ...systemClock, now: () => nowMs++, random: () => 0 },
      prepare: async () => undefined,
      append: async () => ({ kind: 'full', backlog: { operations: 1, bytes: 1, ageMs: 0 } }),
      reported: () => undefined
    })
    const event = {
      kind: 'append',
      id: undefined,
      tenant: undefined,
      flags: 0,
      payload: Buffer.alloc(1)
    } as const
    await expect(producer.submit(event)).rejects.toMatchObject({ code: 'BACKLOG_FULL' })
  }
})
