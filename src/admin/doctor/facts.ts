import type { OperatorAddress } from '../../redis/operator.js'
import type { Info } from '../info.js'
import type { Percentiles } from '../percentiles.js'

/** Something that was looked up, or why it could not be. */
export type Fact<Value> =
  | { readonly known: true; readonly value: Value }
  | { readonly known: false; readonly because: string }

/** What is known of one server, before anybody judges it. Numbers carry their unit in their names. */
export interface Facts {
  readonly node: string
  readonly address: OperatorAddress
  readonly info: Fact<Info>
  /** By name, as CONFIG GET has it, without the secrets. */
  readonly config: Fact<ReadonlyMap<string, string>>
  readonly memoryLimit: Fact<MemoryLimit>
  readonly slowLog: Fact<readonly SlowCommand[]>
  /** Round trips of PING, in milliseconds. */
  readonly latency: Fact<Percentiles>
  readonly clock: Fact<ClockReading>
  readonly keys: Fact<KeySample>
  /** Known when CLIENT TRACKING can be used. */
  readonly tracking: Fact<true>
  /** Whether PING is answered without credentials. */
  readonly strangers: Fact<boolean>
  readonly account: Fact<Account>
  /** Known as undefined for what is not a Cluster. */
  readonly cluster: Fact<ClusterFacts | undefined>
}

export interface MemoryLimit {
  readonly bytes: number
  /** `cgroup`: of the container. `host`: all there is, which others may share. `told`: by who asked. */
  readonly source: 'told' | 'cgroup' | 'host'
}

export interface SlowCommand {
  readonly command: string
  readonly durationMs: number
}

export interface ClockReading {
  /** Redis' clock ahead of this machine's. */
  readonly offsetMs: number
  /** Half the round trip: the offset is known no better. */
  readonly uncertaintyMs: number
}

/** Some of the keys of the namespace, or all. */
export interface KeySample {
  readonly prefix: string
  readonly looked: number
  readonly isWhole: boolean
  /** Entries and foreign keys; not Corral's own counters and streams. */
  readonly withoutTtl: number
  readonly examplesWithoutTtl: readonly string[]
  /** Why sizes could not be had; undefined when they could. */
  readonly unsized: string | undefined
  /** Over the size that is worth a warning, largest first. */
  readonly big: readonly { readonly key: string; readonly bytes: number }[]
  /** Streams that hold writes which are not in the source yet. */
  readonly behindStreams: number
}

export interface Account {
  readonly name: string
  /** Commands it may run and a cache never needs; undefined when the server cannot say. */
  readonly dangerous: readonly string[] | undefined
}

export interface ClusterFacts {
  readonly state: string
  readonly slotsAssigned: number
  readonly slotsFailing: number
  readonly failingNodes: readonly string[]
  readonly primariesWithoutReplica: readonly string[]
}
