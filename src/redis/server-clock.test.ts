import { expect, it } from 'vitest'
import type { Clock } from '../clock.js'
import type { RedisClient } from './client.js'
import { ServerClock } from './server-clock.js'

class StillClock implements Clock {
  ms = 5_000
  now(): number {
    return this.ms
  }
  random(): number {
    return 0.5
  }
}

/** Answers after so long with what its clock showed in the middle of it. */
const serverOf = (clock: StillClock, serverMs: number, roundTripMs = 0): Pick<RedisClient, 'time'> => ({
  time: async () => {
    clock.ms += roundTripMs
    return [String(Math.floor(serverMs / 1000)), String((serverMs % 1000) * 1000)]
  }
})
const syncWith = (time: ServerClock, server: Pick<RedisClient, 'time'>): Promise<void> =>
  time.sync(server as RedisClient)

it('a clock of Redis goes on while the connection is another one, until that has told the time', async () => {
  const clock = new StillClock()
  const time = new ServerClock(clock)
  await syncWith(time, serverOf(clock, 1_700_000_000_000))
  clock.ms += 10
  time.forget()
  // What was stored a moment ago must not look as if it were from decades ahead.
  expect(time.nowMs()).toBe(1_700_000_000_010)
  // However slow its answer: of this server there is no better one.
  await syncWith(time, serverOf(clock, 1_700_000_900_000, 100))
  expect(time.nowMs()).toBe(1_700_000_900_050)
})
