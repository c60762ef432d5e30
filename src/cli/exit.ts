/** What the exit code says. Stable. */
export const EXIT = {
  /** Done, and nothing to complain of. */
  fine: 0,
  /** The doctor found something, or what was asked could not be done. */
  failed: 1,
  /** The command line, the environment or the configuration file is wrong. */
  usage: 2,
  /** Ended by Ctrl-C, as shells have it. */
  interrupted: 130
} as const

/** Something to be mended in how the command was called. */
export class UsageError extends Error {}

/** Something that could not be done; what was found out is printed already, or in the message. */
export class CommandFailed extends Error {}

/** Somebody has pressed Ctrl-C. */
export class Interrupted extends Error {
  constructor() {
    super('Interrupted.')
  }
}

/** Rejects on Ctrl-C, and never resolves. */
export function untilInterrupted(interrupted: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const end = (): void => reject(new Interrupted())
    if (interrupted.aborted) end()
    else interrupted.addEventListener('abort', end, { once: true })
  })
}
