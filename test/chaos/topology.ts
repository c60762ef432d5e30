import type { RedisAddress } from './member-options.js'

/** Something that goes wrong with a server or on the way to it, and is over when `strike` resolves. */
export interface ServerFault {
  readonly what: string
  /** How often it comes, beside the others. */
  readonly weight: number
  /** See `Fault` in history.ts. */
  readonly mayLoseGuards: boolean
  readonly failsOver?: boolean
  strike(random: () => number): Promise<void>
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
