import { createInterface } from 'node:readline/promises'

/** What a command may know of the world around it, so that a test can be that world. */
export interface Terminal {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  /** Whether a person sees what goes to `out`, and to `err`. */
  readonly outIsTerminal: boolean
  readonly errIsTerminal: boolean
  readonly canAsk: boolean
  readonly columns: number
  readonly env: Readonly<Record<string, string | undefined>>
  readonly folder: string
  /** Resolves when whoever reads has taken all that went to `out`. */
  readonly flushed: () => Promise<void>
  /** Fires on Ctrl-C. */
  readonly interrupted: AbortSignal
  ask(question: string): Promise<string>
}

/** Whoever presses it twice is slower, and `npx` faster. */
const SAME_MS = 500

export function processTerminal(): Terminal {
  const interruption = new AbortController()
  process.once('SIGINT', () => {
    interruption.abort()
    const atMs = performance.now()
    // A second one ends whatever does not listen. npm hands on what the terminal has sent to everybody: that is the first.
    process.on('SIGINT', () => {
      if (performance.now() - atMs > SAME_MS) process.exit(130)
    })
  })
  // `corral keys | head` closes the pipe early, which is no fault of anybody's.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  // Nobody reads the progress any more: what is under way is done all the same.
  process.stderr.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
  return {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    outIsTerminal: process.stdout.isTTY === true,
    errIsTerminal: process.stderr.isTTY === true,
    canAsk: process.stdin.isTTY === true && process.stderr.isTTY === true,
    columns: process.stdout.columns ?? 100,
    env: process.env,
    folder: process.cwd(),
    interrupted: interruption.signal,
    flushed: () => new Promise((resolve) => process.stdout.write('', () => resolve())),
    ask: async (question) => {
      const prompt = createInterface({ input: process.stdin, output: process.stderr })
      // While it reads, Ctrl-C is a character of the line and no signal.
      prompt.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
      // Ctrl-D: then there is no answer, and the question would be waited for without an end.
      const ended = new Promise<string>((resolve) => prompt.once('close', () => resolve('')))
      try {
        return await Promise.race([prompt.question(question, { signal: interruption.signal }), ended])
      } finally {
        prompt.close()
      }
    }
  }
}
