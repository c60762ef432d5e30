import { tmpdir } from 'node:os'

/** What to do about an error that is the machine's, for who started the demo; undefined for any other. */
export function adviceFor(error: unknown): string | undefined {
  if (!/No space left on device|ENOSPC/i.test(String(error))) return undefined
  return `The disk of the temporary folder, ${tmpdir()}, is full: make room there, or set TMPDIR to a folder on another one.`
}
