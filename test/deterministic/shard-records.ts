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

/** A record with its length before it, as it stands in the stream, and what it says. */
export interface ModelRecord {
  readonly bytes: Buffer
  readonly kind: Recorded['kind']
  readonly key: string
  /** Which operation of the plan it is: told by its tenant, which every kind of operation has. */
  readonly number: number
}

export function readRecords(joined: Buffer): ModelRecord[] {
  const records: ModelRecord[] = []
  for (let at = 0; at < joined.length; ) {
    const end = at + 4 + joined.readUInt32BE(at)
    const bytes = Buffer.from(joined.subarray(at, end))
    const { kind, key, tenant } = decodeRecord(bytes.subarray(4))
    records.push({ bytes, kind, key, number: Number(tenant) })
    at = end
  }
  return records
}
