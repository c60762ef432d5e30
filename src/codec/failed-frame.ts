import { crc32 } from 'node:zlib'
import { TOKEN_BYTES, type FailedEntry, type Token } from '../entry.js'
import { DETAIL_AT, STATE_AT, STATE_FAILED, TOKEN_AT, tokenIn, writeHead } from './frame-head.js'

const KIND_LOAD_FAILED = 1
const KIND_UNCACHEABLE = 2
const CHECKSUM_AT = TOKEN_AT + TOKEN_BYTES
const REPORT_AT = 16
const REPORT_TEXT_LIMIT = 500

export function failedFrame(
  key: string,
  token: Token,
  kind: FailedEntry['kind'],
  report: FailedEntry['report'],
  untilMs?: number
): Buffer {
  const { name, message, code } = report
  const text = JSON.stringify({
    name: name.slice(0, REPORT_TEXT_LIMIT),
    message: message.slice(0, REPORT_TEXT_LIMIT),
    ...(code === undefined ? {} : { code: code.slice(0, REPORT_TEXT_LIMIT) }),
    ...(untilMs === undefined ? {} : { untilMs })
  })
  const frame = Buffer.allocUnsafe(REPORT_AT + Buffer.byteLength(text))
  writeHead(frame, STATE_FAILED, kind === 'uncacheable' ? KIND_UNCACHEABLE : KIND_LOAD_FAILED, token)
  frame.write(text, REPORT_AT)
  frame.writeUInt32BE(failedChecksum(key, frame), CHECKSUM_AT)
  return frame
}

export function isUncacheable(frame: Buffer): boolean {
  return frame[DETAIL_AT] === KIND_UNCACHEABLE
}

/** The entry; text that says what is wrong when it is damaged. */
export function parseFailed(key: string, bytes: Buffer): FailedEntry | string {
  if (bytes.length < REPORT_AT) return 'it is cut short'
  if (bytes.readUInt32BE(CHECKSUM_AT) !== failedChecksum(key, bytes)) {
    return 'its checksum does not match'
  }
  const told = parseReport(bytes.toString('utf8', REPORT_AT))
  if (told === undefined) return 'its failure report is damaged'
  return {
    state: 'failed',
    token: tokenIn(bytes),
    kind: isUncacheable(bytes) ? 'uncacheable' : 'load-failed',
    ...told
  }
}

function parseReport(text: string): Pick<FailedEntry, 'report' | 'untilMs'> | undefined {
  let report: unknown
  try {
    report = JSON.parse(text)
  } catch {
    return undefined // Counted by the caller: an unreadable entry is an event of its own.
  }
  if (typeof report !== 'object' || report === null) return undefined
  const { name, message, code, untilMs } = report as Record<string, unknown>
  if (typeof name !== 'string' || typeof message !== 'string') return undefined
  return {
    report: typeof code === 'string' ? { name, message, code } : { name, message },
    untilMs: typeof untilMs === 'number' ? untilMs : undefined
  }
}

function failedChecksum(key: string, frame: Buffer): number {
  return crc32(frame.subarray(REPORT_AT), crc32(frame.subarray(STATE_AT, CHECKSUM_AT), crc32(key)))
}
