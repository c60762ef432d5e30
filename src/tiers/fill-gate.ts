import type { ReadRequest } from './request.js'

/** Whether more may be stored for a tenant. */
export interface FillGate {
  /** Sets room aside, if there is any; `stored` or `giveBack` must follow. */
  reserve(request: Stored, valueBytes: number): boolean
  stored(request: Stored, valueBytes: number, lifeMs: number): void
  giveBack(request: Stored, valueBytes: number): void
}

type Stored = Pick<ReadRequest, 'key' | 'tenant'>

export const ADMIT_ALL: FillGate = { reserve: () => true, stored: () => undefined, giveBack: () => undefined }
