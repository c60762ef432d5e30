import { execFileSync } from 'node:child_process'
import { afterEach, describe, expect, it } from 'vitest'
import type { EchoCommands } from './fixtures/echo-worker.js'
import type { StarterCommands } from './fixtures/starter-worker.js'
import { startWorker, type WorkerProcess } from './processes.js'
import { standStill } from './standstill.js'
import { until } from './until.js'

const started: WorkerProcess<EchoCommands>[] = []

async function start(): Promise<WorkerProcess<EchoCommands>> {
  const worker = await startWorker<EchoCommands>(new URL('./fixtures/echo-worker.ts', import.meta.url))
  started.push(worker)
  return worker
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((worker) => worker.kill()))
})

describe('a worker process', () => {
  it('runs commands in another process, side by side', async () => {
    const worker = await start()
    expect(worker.pid).not.toBe(process.pid)
    expect(await Promise.all([worker.call('add', 1, 2), worker.call('add', 3, 4)])).toEqual([3, 7])
  })

  it('gives back values that JSON would lose', async () => {
    const worker = await start()
    const value = { at: new Date(0), ids: new Map([[1n, 'a']]), bytes: Buffer.from('x'), nothing: undefined }
    expect(await worker.call('echo', value)).toEqual(value)
  })

  it("rejects with the worker's own error name, message and code", async () => {
    const worker = await start()
    await expect(worker.call('fail')).rejects.toMatchObject({
      name: 'RangeError',
      message: 'out of range',
      code: 'E_RANGE'
    })
  })

  it('rejects what is unanswered when the worker is killed', async () => {
    const worker = await start()
    const hanging = expect(worker.call('hang')).rejects.toThrow('signal SIGKILL')
    expect(await worker.kill()).toEqual({ code: null, signal: 'SIGKILL' })
    await hanging
    expect(worker.running).toBe(false)
  })

  it('tells the exit code', async () => {
    const worker = await start()
    await expect(worker.call('leave', 3)).rejects.toThrow('code 3')
    expect(await worker.exited).toEqual({ code: 3, signal: null })
  })

  it('says what a worker printed that did not come up', async () => {
    await expect(startWorker(new URL('./fixtures/missing-worker.ts', import.meta.url))).rejects.toThrow(
      /missing-worker/
    )
  })
})

function startStarter(): Promise<WorkerProcess<StarterCommands>> {
  return startWorker<StarterCommands>(new URL('./fixtures/starter-worker.ts', import.meta.url))
}

/** As `ps` has it: T for one that is stopped, nothing for one that has ended. */
function stateOf(pid: number): string {
  try {
    return execFileSync('ps', ['-o', 'state=', '-p', String(pid)], { encoding: 'utf8' }).trim()[0] ?? ''
  } catch {
    return ''
  }
}

describe('a process that stands still', () => {
  it('goes on when it is let; one that has ended is left out', async () => {
    const [worker, gone] = [await start(), await start()]
    await gone.kill()
    const standstill = await standStill([gone.pid, worker.pid])
    expect(stateOf(worker.pid)).toBe('T')
    await standstill.goOn()
    expect(await worker.call('add', 1, 2)).toBe(3)
  })

  it('goes on when the process is killed that stopped it', async () => {
    const worker = await start()
    await using stopper = await startStarter()
    await stopper.call('standStill', worker.pid)
    expect(stateOf(worker.pid)).toBe('T')
    await stopper.kill('SIGKILL')
    expect(await worker.call('add', 1, 2)).toBe(3)
  })
})

describe('a process that ends with the one that started it', () => {
  it('is not there any more when that was killed', async () => {
    await using starter = await startStarter()
    const pid = await starter.call('startAnother')
    await starter.kill('SIGKILL')
    await until('it has ended', () => stateOf(pid) === '' || stateOf(pid) === 'Z')
  })
})
