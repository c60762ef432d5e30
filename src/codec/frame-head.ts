import { randomFillSync } from 'node:crypto'
import { TOKEN_BYTES, type Token } from '../entry.js'

/* What the entries of every state begin with, as laid out in frame.ts. */

export const MAGIC = 0xc0
export const VERSION = 1
/** A larger one is garbage, not a later version. */
const VERSION_MOST = 15
export const STATE_HOLD = 1
export const STATE_FAILED = 2
export const STATE_VALUE = 3

export const STATE_AT = 2
export const DETAIL_AT = 3
export const TOKEN_AT = 4

/** Random, so that neither another process nor this one before a restart ever had the same. */
export function newToken(): Token {
  return randomFillSync(Buffer.allocUnsafe(TOKEN_BYTES))
}

export function writeHead(frame: Buffer, state: number, detail: number, token: Token): void {
  frame[0] = MAGIC
  frame[1] = VERSION
  frame[STATE_AT] = state
  frame[DETAIL_AT] = detail
  token.copy(frame, TOKEN_AT)
}

export function tokenIn(bytes: Buffer): Token {
  return bytes.subarray(TOKEN_AT, TOKEN_AT + TOKEN_BYTES)
}

export function isLater(version: number): boolean {
  return version > VERSION && version <= VERSION_MOST
}
