import { CorralError, RedisUnavailableError } from '../errors.js'
import type { ShardKeys } from '../keys/key-schema.js'
import type { RedisClient } from './client.js'
import type { RedisLink } from './link.js'
import { ScriptRunner, type ScriptName } from './scripts.js'

/** What waits in a shard for its sink. */
export interface Backlog {
  readonly operations: number
  readonly bytes: number
  /** Age of the oldest; 0 when there is none. */
  readonly ageMs: number
}

export interface AppendRequest {
  readonly keys: ShardKeys
  readonly producer: string
  readonly batch: number
  readonly shards: number
  readonly limits: { readonly operations: number; readonly bytes: number; readonly ageMs: number }
  readonly count: number
  readonly entryKeys: readonly string[]
  readonly operations: { readonly records: Buffer; readonly controls: Buffer }
}

export type AppendAnswer =
  | {
      readonly kind: 'accepted'
      readonly statuses: string
      /** 8 bytes for each increment, in order. */
      readonly numbers: Buffer
      readonly backlog: Backlog | undefined
    }
  | { readonly kind: 'full'; readonly backlog: Backlog }
  | { readonly kind: 'other-shards'; readonly shards: number }
  | { readonly kind: 'superseded' }

/** The statuses of operations, as the script gives them. */
export const ACCEPTED = '1'
export const NEEDS_BASE = '2'
export const GUARDED = '3'

export interface StreamEntry {
  readonly id: string
  readonly producer: string
  readonly batch: number
  readonly records: Buffer
}

export interface Held extends Backlog {
  readonly isMine: boolean
  readonly flushes: number
}

/** Whether a call that failed may have been carried out all the same. */
export type Doubt = 'not-done' | 'unknown'

/** What is asked for dead letters beside what everybody asks of a client; any ioredis has it. */
interface BytesClient extends RedisClient {
  hgetBuffer(key: string, field: string): Promise<Buffer | null>
  hscanBuffer(
    key: string,
    cursor: string,
    ...args: (string | number)[]
  ): Promise<[cursor: Buffer, fieldsAndValues: Buffer[]]>
}

/** Each may be as large as any value. */
const LETTERS_AT_ONCE = 50

/** The scripts over shards, each as one call under a deadline. */
export class ShardStreams {
  readonly #link: RedisLink
  readonly #runner: ScriptRunner

  constructor(link: RedisLink) {
    this.#link = link
    this.#runner = new ScriptRunner(link.client)
  }

  /**
   * @param send runs the script; by default on the shared connection
   * @throws the driver's error, told apart by `doubtOf`
   */
  async append(request: AppendRequest, send?: ScriptCall): Promise<AppendAnswer> {
    const { keys, limits } = request
    const args = [
      request.producer,
      request.batch,
      request.shards,
      limits.operations,
      limits.bytes,
      limits.ageMs,
      request.count,
      request.operations.records,
      request.operations.controls
    ]
    const all = [keys.stream, keys.state, keys.producers, keys.unflushed, ...request.entryKeys]
    const reply = await (send ?? this.send)('append-operations', all, args)
    return readAppendAnswer(reply as unknown[])
  }

  /** As everything else is sent. */
  readonly send: ScriptCall = (script, keys, args) =>
    this.#link.callFor(keys[0]!, 'accept a write', () => this.#runner.runOn(script, keys, args))

  async read(keys: ShardKeys, most: number, mostBytes: number): Promise<StreamEntry[]> {
    const flat = (await this.#run(
      'read a stream',
      'read-stream',
      [keys.stream],
      [most, mostBytes]
    )) as Buffer[]
    const entries: StreamEntry[] = []
    for (let at = 0; at < flat.length; at += 4) {
      const [id, producer, batch] = [String(flat[at]), String(flat[at + 1]), Number(String(flat[at + 2]))]
      entries.push({ id, producer, batch, records: flat[at + 3]! })
    }
    return entries
  }

  /** False when the stream is not the one that was read. */
  async settle(
    keys: ShardKeys,
    last: StreamEntry,
    entryKeys: readonly string[],
    fates: string,
    keepMs: number,
    isLast: boolean
  ): Promise<boolean> {
    const all = [keys.stream, keys.state, keys.producers, keys.unflushed, ...entryKeys]
    const args = [last.id, last.producer, last.batch, keepMs, fates, isLast ? '1' : '']
    return (await this.#run('settle entries', 'settle-entries', all, args)) === 1
  }

  async hold(keys: ShardKeys, worker: string, lifeMs: number): Promise<Held> {
    const reply = await this.#run('hold a shard', 'hold-shard', [keys.owner, keys.state], [worker, lifeMs])
    const [isMine, operations, bytes, oldest, now, flushes] = reply as number[]
    return { isMine: isMine === 1, ...backlogOf(operations!, bytes!, oldest!, now!), flushes: flushes! }
  }

  async release(keys: ShardKeys, worker: string): Promise<void> {
    await this.#run('release a shard', 'release-shard', [keys.owner], [worker])
  }

  /** The names of the workers that live, this one among them. */
  async announce(workersKey: string, worker: string, lifeMs: number): Promise<string[]> {
    const names = await this.#run('announce a worker', 'announce-worker', [workersKey], [worker, lifeMs])
    return (names as Buffer[]).map(String)
  }

  /** Asks whoever works on the shard to flush now; answers the id of its last entry. */
  async askForFlush(keys: ShardKeys): Promise<string | undefined> {
    const reply = await this.#run('ask for a flush', 'ask-for-flush', [keys.state, keys.stream], [])
    return (reply as Buffer | null)?.toString()
  }

  /** Undefined when the stream is empty. */
  async firstId(keys: ShardKeys): Promise<string | undefined> {
    const reply = await this.#run('look into a stream', 'first-in-stream', [keys.stream], [])
    return (reply as Buffer | null)?.toString()
  }

  /** The number of shards that the queue has; the first to ask decides. */
  async shardsOf(shardsKey: string, shards: number): Promise<number> {
    return Number(String(await this.#run('agree on shards', 'agree-on-shards', [shardsKey], [shards])))
  }

  /**
   * False when the stream does not have the entry any more that the letter is from.
   *
   * @param send as for `append`
   */
  async bury(
    keys: ShardKeys,
    { id, producer, batch }: StreamEntry,
    letter: string,
    content: Buffer,
    send: ScriptCall = this.send
  ): Promise<boolean> {
    const args = [id, producer, batch, letter, content]
    return (await send('keep-letter', [keys.letters, keys.stream], args)) === 1
  }

  /** Takes letters away of what was read from the stream; false when it does not have the first entry of that any more. */
  async withdraw(
    keys: ShardKeys,
    { id, producer, batch }: StreamEntry,
    letters: readonly string[]
  ): Promise<boolean> {
    const args = [id, producer, batch, ...letters]
    const names = [keys.letters, keys.stream]
    return (await this.#run('withdraw dead letters', 'withdraw-letters', names, args)) === 1
  }

  /** Page by page: of tens of thousands one answer would take longer than any call may. */
  async letters(keys: ShardKeys): Promise<Map<string, Buffer>> {
    const letters = new Map<string, Buffer>()
    let cursor = '0'
    do {
      const [next, page] = await this.#link.callFor(keys.letters, 'list dead letters', (client) =>
        (client as BytesClient).hscanBuffer(keys.letters, cursor, 'COUNT', LETTERS_AT_ONCE)
      )
      for (let at = 0; at < page.length; at += 2) letters.set(String(page[at]), page[at + 1]!)
      cursor = String(next)
    } while (cursor !== '0')
    return letters
  }

  letter(keys: ShardKeys, letter: string): Promise<Buffer | null> {
    return this.#link.callFor(keys.letters, 'read a dead letter', (client) =>
      (client as BytesClient).hgetBuffer(keys.letters, letter)
    )
  }

  async letterNames(keys: ShardKeys): Promise<string[]> {
    const names = await this.#link.callFor(keys.letters, 'list dead letters', (client) =>
      client.call('HKEYS', keys.letters)
    )
    return names as string[]
  }

  async exhume(keys: ShardKeys, letters: readonly string[]): Promise<number> {
    if (letters.length === 0) return 0
    return Number(
      await this.#link.callFor(keys.letters, 'drop dead letters', (client) =>
        client.call('HDEL', keys.letters, ...letters)
      )
    )
  }

  #run(
    action: string,
    script: ScriptName,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[]
  ): Promise<unknown> {
    return this.#link.callFor(keys[0]!, action, () => this.#runner.runOn(script, keys, args))
  }
}

export type ScriptCall = (
  script: ScriptName,
  keys: readonly string[],
  args: readonly (string | number | Buffer)[]
) => Promise<unknown>

function readAppendAnswer(reply: unknown[]): AppendAnswer {
  switch (reply[0]) {
    case 1: {
      const [, , statuses, numbers, operations, bytes, oldest, now] = reply
      // A batch that was known already tells nothing about the backlog.
      const backlog =
        now === 0
          ? undefined
          : backlogOf(operations as number, bytes as number, oldest as number, now as number)
      return { kind: 'accepted', statuses: String(statuses), numbers: numbers as Buffer, backlog }
    }
    case 2: {
      const [, operations, bytes, oldest, now] = reply as number[]
      return { kind: 'full', backlog: backlogOf(operations!, bytes!, oldest!, now!) }
    }
    case 3:
      return { kind: 'other-shards', shards: reply[1] as number }
    default:
      return { kind: 'superseded' }
  }
}

function backlogOf(operations: number, bytes: number, oldest: number, now: number): Backlog {
  return { operations, bytes, ageMs: operations === 0 || oldest === 0 ? 0 : Math.max(0, now - oldest) }
}

/** What a rejected call leaves open. An answer that refuses, and a connection that was not there, leave nothing open. */
export function doubtOf(error: unknown): Doubt {
  // Our own refusals come before anything is sent.
  if (error instanceof CorralError && !(error instanceof RedisUnavailableError)) return 'not-done'
  const cause = error instanceof RedisUnavailableError ? error.cause : error
  if (!(cause instanceof Error)) return 'unknown'
  const wasRefused = cause.name === 'ReplyError' && !cause.message.startsWith('UNKILLABLE')
  const wasNotSent =
    /^the connection is (away|closed)\b/.test(cause.message) ||
    cause.message.startsWith("Stream isn't writeable")
  return wasRefused || wasNotSent ? 'not-done' : 'unknown'
}
