import { run } from '../../src/cli/run.js'
import type { Terminal } from '../../src/cli/terminal.js'

export interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface World {
  readonly env?: Readonly<Record<string, string>>
  readonly folder?: string
  /** A person at the keyboard, with this answer to every question. */
  readonly answer?: string
  readonly isTerminal?: boolean
  readonly interrupted?: AbortSignal
  /** Told of what goes to the screen, as it comes. */
  readonly onText?: (text: string) => void
}

/** One command line, as a shell would run it in this world. */
export async function corral(args: readonly string[], world: World = {}): Promise<Outcome> {
  let [out, err] = ['', '']
  const isTerminal = world.isTerminal ?? false
  const terminal: Terminal = {
    out: (text) => {
      out += text
      world.onText?.(text)
    },
    err: (text) => {
      err += text
      world.onText?.(text)
    },
    outIsTerminal: isTerminal,
    errIsTerminal: isTerminal,
    canAsk: world.answer !== undefined,
    columns: 100,
    env: world.env ?? {},
    folder: world.folder ?? '/nowhere',
    flushed: async () => undefined,
    interrupted: world.interrupted ?? new AbortController().signal,
    ask: async (question) => {
      err += question
      return world.answer ?? ''
    }
  }
  const code = await run(args, terminal)
  return { code, out, err }
}
