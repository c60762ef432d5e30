import { painter } from './print.js'
import type { Terminal } from './terminal.js'

export interface ProgressBar {
  readonly report: (done: number, total: number) => void
  /** Takes it off the screen. */
  readonly end: () => void
}

const WIDTH = 24
const EVERY_MS = 100
/** Shorter work is over before anybody has read its bar. */
const QUIET_MS = 300

/** A bar on standard error, for a person; for a pipe or a log, nothing. */
export function progressBar(terminal: Terminal, what: string): ProgressBar {
  if (!terminal.errIsTerminal) return { report: () => undefined, end: () => undefined }
  const paint = painter(terminal, true)
  let shownAt = performance.now() + QUIET_MS - EVERY_MS
  let isShown = false
  return {
    report: (done, total) => {
      const now = performance.now()
      if (now - shownAt < EVERY_MS) return
      shownAt = now
      isShown = true
      const share = total === 0 ? 0 : Math.min(1, done / total)
      const full = Math.round(share * WIDTH)
      const bar = paint('cyan', '█'.repeat(full)) + paint('dim', '░'.repeat(WIDTH - full))
      const percent = total === 0 ? `${done}` : `${String(Math.round(share * 100)).padStart(3)} %`
      terminal.err(`\r${what} ${bar} ${percent}\u001B[K`)
    },
    end: () => {
      if (isShown) terminal.err('\r\u001B[K')
      isShown = false
    }
  }
}
