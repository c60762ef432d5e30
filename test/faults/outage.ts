import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Proxy } from '../support/proxy.js'
import type { RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

/** What happens to a Redis, and a load of requests meanwhile. */

export const ROWS = 300
export const LOAD_MS = 5
const REQUESTS_PER_SECOND = 500

/** For a server whose loading can be slowed down. */
export const SERVER_ARGS = [
  '--enable-debug-command',
  'yes',
  '--loading-process-events-interval-bytes',
  '1024'
] as const

export interface Row {
  readonly id: number
  readonly version: number
}

/** A source that is well, and counts how many ask it at the same time. */
export class Source {
  readonly versions = Array.from({ length: ROWS }, () => 1)
  running = 0
  mostAtOnce = 0
  loads = 0

  readonly load = async (id: number): Promise<Row> => {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.running)
    this.loads++
    const version = this.versions[id]!
    await sleep(LOAD_MS)
    this.running--
    return { id, version }
  }
}

export interface Load {
  requests: number
  errors: unknown[]
  /** From the call to its end. */
  tookMs: number[]
  /** From when each was due, so that a process which is too busy to ask counts as one that lets wait. */
  waitedMs: number[]
  stop(): Promise<void>
}

/** Requests come whether the ones before are answered or not. */
export function openLoop(get: (id: number) => Promise<unknown>): Load {
  const under = new Set<Promise<void>>()
  const load: Load = {
    requests: 0,
    errors: [],
    tookMs: [],
    waitedMs: [],
    stop: async () => {
      clearInterval(timer)
      await Promise.all(under)
    }
  }
  const startedAt = performance.now()
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1_000) * REQUESTS_PER_SECOND
    while (load.requests < due) {
      const beganAt = performance.now()
      const dueAt = startedAt + (load.requests / REQUESTS_PER_SECOND) * 1_000
      const one: Promise<void> = get((load.requests++ * 7) % ROWS)
        .then(
          () => undefined,
          (error: unknown) => void load.errors.push(error)
        )
        .then(() => {
          load.tookMs.push(performance.now() - beganAt)
          load.waitedMs.push(performance.now() - dueAt)
          under.delete(one)
        })
      under.add(one)
    }
  }, 1)
  return load
}

/** A Redis that things happen to, behind a proxy, with a connection for what is done to it. */
export interface Stage {
  readonly server: RedisServer
  readonly proxy: Proxy
  readonly admin: Redis
}

export interface Fault {
  readonly begin: () => unknown
  readonly end: () => unknown
  /** Redis, or what it held, is another one after it. */
  readonly isForgetful?: boolean
}

export const FAULTS: Readonly<Record<string, (stage: Stage) => Fault>> = {
  'is killed and comes back empty': ({ server }) => ({
    begin: () => server.kill('SIGKILL'),
    end: () => server.restart(),
    isForgetful: true
  }),
  'is frozen': ({ server }) => ({ begin: () => server.pause(), end: () => server.resume() }),
  'answers 500 ms late': ({ proxy }) => ({ begin: () => proxy.delay(500), end: () => proxy.delay(0) }),
  'loads its data': ({ admin }) => ({
    begin: async () => {
      const pipeline = admin.pipeline()
      for (let key = 0; key < 3_000; key++) pipeline.set(`filler:${key}`, 'x'.repeat(50))
      await pipeline.exec()
      await admin.config('SET', 'key-load-delay', '450')
      void admin.call('DEBUG', 'RELOAD').catch(() => undefined)
    },
    end: async () => {
      await until('it is done', async () => /loading:0/.test(await admin.info('persistence').catch(() => '')))
      await admin.config('SET', 'key-load-delay', '0')
    }
  }),
  'became a replica': ({ admin }) => ({
    begin: () => admin.replicaof('127.0.0.1', 1),
    end: () => admin.replicaof('NO', 'ONE')
  }),
  'is full': ({ admin }) => ({
    begin: async () => (await admin.config('SET', 'maxmemory', '1'), admin.flushall()),
    end: () => admin.config('SET', 'maxmemory', '0')
  }),
  'asks for a password it did not ask for before': ({ admin }) => ({
    begin: async () => {
      await admin.config('SET', 'requirepass', 'changed')
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    },
    end: () => admin.config('SET', 'requirepass', '')
  }),
  'has its connections reset all the time': ({ proxy }) => {
    let timer: NodeJS.Timeout
    return {
      begin: () => void (timer = setInterval(() => proxy.reset(), 100)),
      end: () => clearInterval(timer)
    }
  },
  'swallows everything without a word': ({ proxy }) => ({
    begin: () => (proxy.swallow(), proxy.swallowNew(true)),
    end: () => proxy.swallowNew(false)
  })
}
