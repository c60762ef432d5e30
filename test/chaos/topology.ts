import type { RedisAddress } from './member-options.js'

/** Of a fault that broke nothing: it does not count, and excuses nothing. */
export const MISSED = Symbol('missed')

/** Something that goes wrong with a server or on the way to it, and is over when `strike` resolves. */
export interface ServerFault {
  readonly what: string
  /** How often it comes, beside the others. */
  readonly weight: number
  /** See `Fault` in history.ts. */
  readonly mayLoseGuards: boolean
  readonly failsOver?: boolean
  /** Resolves with `MISSED` when there was nothing to break. */
  strike(random: () => number): Promise<unknown>
}

/** The Redis that a fleet works with. */
export interface RedisTopology {
  readonly faults: readonly ServerFault[]
  /** The way there for one process. */
  addressFor(place: number): Promise<RedisAddress>
  /** Everything cached is dropped. */
  forget(): Promise<void>
  stop(): Promise<void>
}

export type TopologyName = 'single' | 'sentinel' | 'cluster'
