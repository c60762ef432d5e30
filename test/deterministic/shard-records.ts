import { decodeRecord, type Recorded } from '../../src/behind/record.js'

/** Of a stream entry. */
export interface Id {
  readonly ms: number
  readonly seq: number
}

export const FIRST_ID: Id = { ms: 0, seq: 0 }

/** The next id at `ms`, as Redis gives them: never below the last. */
export function idOf(ms: number, last: Id): Id {
  return ms > last.ms ? { ms, seq: 0 } : { ms: last.ms, seq: last.seq + 1 }
}

export function isLater(one: Id, other: Id): boolean {
  return one.ms > other.ms || (one.ms === other.ms && one.seq > other.seq)
}

/** A record with its length before it, as it stands in the stream, and what it says. */
export interface ModelRecord {
  readonly bytes: Buffer
  readonly kind: Recorded['kind']
  readonly key: string
  /** Which operation of the plan it is: told by its tenant, which every kind of operation has. */
  readonly number: number
  /** Of an increment, which may be several calls as one: what they come to. */
  readonly by: number
}

/** Of an increment, what the script is told beside its record. */
export interface ModelIncrement {
  readonly by: number
  readonly freshMs: number
  readonly stamp: string
  readonly base: { readonly number: number; readonly token: string; readonly isNew: boolean } | undefined
}

/** A record, and what stands beside it for the script alone. */
export interface ModelOperation {
  readonly record: ModelRecord
  /** Of a put or a deletion: the VALUE for its entry. */
  readonly frame: Buffer | undefined
  readonly increment: ModelIncrement | undefined
}

/** The last two arguments of the script that appends; see its head. */
export function readOperations(records: Buffer, controls: Buffer): ModelOperation[] {
  const operations: ModelOperation[] = []
  let at = 0
  for (const record of readRecords(records)) {
    const end = at + 5 + controls.readUInt32BE(at + 1)
    const control = controls.subarray(at + 5, end)
    operations.push({ record, frame: frameOf(record, control), increment: incrementOf(record, control) })
    at = end
  }
  return operations
}

function readRecords(joined: Buffer): ModelRecord[] {
  const records: ModelRecord[] = []
  for (let at = 0; at < joined.length; ) {
    const end = at + 4 + joined.readUInt32BE(at)
    const bytes = Buffer.from(joined.subarray(at, end))
    const { kind, key, tenant, by } = decodeRecord(bytes.subarray(4))
    records.push({ bytes, kind, key, number: Number(tenant), by })
    at = end
  }
  return records
}

function frameOf({ kind, bytes }: ModelRecord, control: Buffer): Buffer | undefined {
  if (kind === 'delete') return control
  return kind === 'put' ? bytes.subarray(4 + control.readUInt32BE(0)) : undefined
}

function incrementOf({ kind }: ModelRecord, control: Buffer): ModelIncrement | undefined {
  if (kind !== 'increment') return undefined
  const base = {
    number: control[29] === 1 ? control.readDoubleBE(30) : 0,
    token: control.toString('hex', 38, 46),
    isNew: control[46] === 1
  }
  return {
    by: control.readDoubleBE(0),
    freshMs: control.readUIntBE(12, 5),
    stamp: control.toString('hex', 17, 29),
    base: control[29] === 1 ? base : undefined
  }
}
