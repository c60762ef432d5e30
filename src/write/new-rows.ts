import type { ReadRequest } from '../tiers/request.js'
import type { NewRow } from './writer.js'

/** What to publish of a row that is deleted. */
export const GONE: NewRow = { value: undefined, version: undefined }

/** What to publish of a saved row. A writer that returns nothing leaves it to the next reader to load. */
export function rowsOf(request: ReadRequest, saved: unknown): ReadonlyMap<string, NewRow> {
  if (saved === undefined) return new Map()
  // As drivers give it, such as a bigint as text. The row is committed: what is no number counts as no version.
  const version = Number(request.source.version?.(saved) ?? Number.NaN)
  return new Map([[request.key, { value: saved, version: Number.isFinite(version) ? version : undefined }]])
}
