import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { lateAfter } from '../../test/support/late-after.js'
import { withDeadline } from './deadline.js'

const never = new Promise<never>(() => undefined)
const late = (): Error => new Error('late')

/** Keeps the event loop at work, in pieces as a busy server does, until then. */
async function busyUntil(isOver: () => boolean): Promise<void> {
  while (!isOver()) {
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
    const inTime = Promise.race([withDeadline(never, 80, late), lateAfter(80 * 1.25 + 60)])
    await expect(inTime).rejects.toThrow('late')
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(79)
  })

  it('does not count the time in which this process had no time to listen', async () => {
    const answer = withDeadline(sleep(150, 'in time for who listens'), 100, late)
    const until = performance.now() + 220
    await busyUntil(() => performance.now() > until)
    expect(await answer).toBe('in time for who listens')
  })

  it('ends all the same when this process never rests', async () => {
    let isOver = false
    const inTime = Promise.race([withDeadline(never, 40, late), lateAfter(700)])
    const ending = expect(inTime).rejects.toThrow('late')
    void ending.finally(() => (isOver = true)).catch(() => undefined)
    await busyUntil(() => isOver)
    await ending
  })
})
