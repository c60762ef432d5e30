import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { canListProcesses, commandOf, type Program, startProgram } from './program.js'

const GONE_WITHIN_MS = 15_000

let program: Program | undefined

afterEach(async () => {
  await program?.cleanUp()
  program = undefined
})

async function startDemo(...args: string[]): Promise<Program> {
  program = await startProgram(['demo', ...args])
  return program
}

/** The process that tells the story: neither the script that started it nor a process of the API. */
function storyteller(demo: Program): number | undefined {
  return demo.processes().find((pid) => /demo\/main\.ts/.test(commandOf(pid)))
}

describe.skipIf(!canListProcesses)('npm run demo', () => {
  it('tells the whole story with --once, in which Corral asks the database once, and leaves nothing behind', async () => {
    const demo = await startDemo('--once', '--patience', '4')
    expect(await demo.ended, demo.output()).toBe(0)
    const output = demo.output()
    expect(output).toContain('Corral: 1 query for 5,000 requests')
    expect(output).toMatch(/^ {2}Corral +1 +5,000 of 5,000 /m)
    expect(
      Number(/no cache: ([\d,]+) queries for 5,000 requests/.exec(output)?.[1]?.replace(',', ''))
    ).toBeGreaterThan(5)
    expect(output).toMatch(/^ {2}one film +[\d.]+ ms/m)
    expect(output, 'not one view more or less').toMatch(/^ {2}Corral +30,000 +[\d,]+ +30,000 +30,000$/m)
    expect(output, 'no colours and no cursor movements in a pipe').not.toContain('\u001B')
    expect(await demo.leftovers(GONE_WITHIN_MS)).toEqual([])
  })

  it('serves on at the printed URLs until Ctrl-C, and then leaves nothing behind', async () => {
    const demo = await startDemo('--processes', '2', '--requests', '10', '--patience', '60')
    await demo.printed("The API's processes")
    const urls = /The API's processes: (.+)/.exec(demo.output())?.[1]?.trim().split(/\s+/) ?? []
    expect(urls).toHaveLength(2)
    const answers = []
    for (const url of urls) answers.push(await (await fetch(`${url}/api/products/3000`)).json())
    expect(answers).toMatchObject([{ source: 'database' }, { source: 'cache' }])

    demo.interrupt()
    expect(await demo.ended).toBe(130)
    expect(demo.output()).toContain('Stopping')
    expect(await demo.leftovers(GONE_WITHIN_MS)).toEqual([])
  })

  // One moment in each part of the story: setting up, loading, starting processes, measuring, the herd.
  it.each([
    [0, 600],
    [600, 1500],
    [1500, 4000],
    [4000, 8000],
    [8000, 14_000]
  ])('leaves nothing behind when Ctrl-C comes between %d and %d ms', async (from, to) => {
    const afterMs = Math.round(from + Math.random() * (to - from))
    const demo = await startDemo('--once', '--requests', '2000', '--patience', '60')
    await sleep(afterMs)
    demo.interrupt()
    const ended = await demo.ended
    expect([130, 'SIGINT'], `after ${afterMs} ms:\n${demo.output()}`).toContain(ended)
    expect(await demo.leftovers(GONE_WITHIN_MS), `after ${afterMs} ms`).toEqual([])
  })

  it.each(['the demo', 'the script that started it'])(
    'leaves nothing behind after kill -9 of %s',
    async (victim) => {
      const demo = await startDemo('--once', '--requests', '2000', '--patience', '60')
      await demo.printed('no cache: 2,000 requests at once')
      await sleep(1000 * Math.random())
      const pid = victim === 'the demo' ? storyteller(demo) : demo.child.pid
      process.kill(pid ?? Number.NaN, 'SIGKILL')
      await demo.ended
      expect(await demo.leftovers(GONE_WITHIN_MS)).toEqual([])
    }
  )

  it('leaves nothing behind when a process of the API dies in the middle', async () => {
    const demo = await startDemo('--processes', '2', '--requests', '10', '--patience', '60')
    await demo.printed("The API's processes")
    const victim = demo.processes().find((pid) => commandOf(pid).includes('api-process.ts'))
    process.kill(victim ?? Number.NaN, 'SIGKILL')
    expect(await demo.ended).toBe(1)
    expect(demo.output()).toContain('A process of the API ended by itself (code null, signal SIGKILL)')
    expect(await demo.leftovers(GONE_WITHIN_MS)).toEqual([])
  })

  it('explains its options, and what is wrong with one', async () => {
    const demo = await startDemo('--processes', '0')
    expect(await demo.ended).toBe(2)
    expect(demo.output()).toContain('--processes must be a whole number from 1 to 32; this is "0".')
    expect(demo.output()).toContain('npm run demo -- [options]')
  })
})
