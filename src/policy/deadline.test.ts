import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { withDeadline } from './deadline.js'

const never = new Promise<never>(() => undefined)
const late = (): Error => new Error('late')

/** Keeps the event loop at work, in pieces as a busy server does, for `ms`. */
async function busyFor(ms: number): Promise<void> {
  const until = performance.now() + ms
  while (performance.now() < until) {
    const pieceUntil = performance.now() + 5
    while (performance.now() < pieceUntil) Math.sqrt(Math.random())
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('a deadline', () => {
  it('hands on what comes in time', async () => {
    expect(await withDeadline(Promise.resolve(1), 10, late)).toBe(1)
    await expect(withDeadline(Promise.reject(new Error('own')), 10, late)).rejects.toThrow('own')
  })

  it('ends a wait for the other side soon after its time', async () => {
    const startedAt = performance.now()
    await expect(withDeadline(never, 80, late)).rejects.toThrow('late')
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(79)
    expect(performance.now() - startedAt).toBeLessThan(80 * 1.25 + 60)
  })

  it('does not count the time in which this process had no time to listen', async () => {
    const answer = withDeadline(sleep(150, 'in time for who listens'), 100, late)
    await busyFor(220)
    expect(await answer).toBe('in time for who listens')
  })

  it('ends all the same when this process never rests', async () => {
    const startedAt = performance.now()
    const waiting = expect(withDeadline(never, 40, late)).rejects.toThrow('late')
    await busyFor(500)
    await waiting
    expect(performance.now() - startedAt).toBeLessThan(700)
  })
})
