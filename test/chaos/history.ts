import { readFile } from 'node:fs/promises'

/** Microseconds of the machine's monotonic clock, which all its processes share. */
export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

export type Kind = 'read' | 'write' | 'change' | 'invalidate'

/** A row as a caller got it: a version, the change that made it, and the load that brought it here, if one did. */
export interface Row {
  readonly id: string
  readonly version: number
  /** The operation that made this version: no two have the same. */
  readonly by: string
  readonly load?: { readonly process: number; readonly startedAt: number; readonly alone: boolean }
}

/** One operation, from its call to its end. */
export interface Operation {
  readonly op: string
  readonly process: number
  readonly kind: Kind
  readonly id: string
  readonly startedAt: number
  /** Undefined when its process was killed in the middle. */
  readonly endedAt?: number
  readonly version?: number
  readonly by?: string
  readonly source?: string
  /** Of the load that the value came from, when this process loaded it without Redis. */
  readonly aloneSince?: number
  /** `published`, `dropped`, `confirmed`: promised to all. `pending`: to this process. */
  readonly outcome?: string
  /** How the cache was told of a change past it. */
  readonly tell?: string
  readonly error?: string
}

/** A version that was committed, as the database has noted it in the same transaction. */
export interface Commit {
  readonly id: string
  readonly version: number
  readonly by: string
}

/** What was broken, and for how long. */
export interface Fault {
  readonly what: string
  readonly from: number
  to: number
  /** Redis may have lost what it held, or the process that was to keep its guard stood still. */
  readonly mayLoseGuards: boolean
  /** A replica became the master: what was told the old one in the end may be lost. */
  readonly failsOver?: boolean
}

/** The operations in the files of one round. The last line of a killed process may be cut short. */
export async function readHistory(files: readonly string[]): Promise<Operation[]> {
  const operations = new Map<string, Operation>()
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => '')
    for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
      if (line === '') continue
      const operation = JSON.parse(line) as Operation
      operations.set(operation.op, operation)
    }
  }
  return [...operations.values()]
}
