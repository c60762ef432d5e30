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

/** As `work` does; or rejects on Ctrl-C, whatever becomes of the work. After that it is not begun. */
export async function unlessInterrupted<Result>(
  interrupted: AbortSignal,
  work: () => Promise<Result>
): Promise<Result> {
  if (interrupted.aborted) throw new Interrupted()
  let end = (): void => {}
  const ended = new Promise<never>((_resolve, reject) => {
    end = () => reject(new Interrupted())
  })
  interrupted.addEventListener('abort', end, { once: true })
  try {
    return await Promise.race([ended, work()])
  } finally {
    interrupted.removeEventListener('abort', end)
  }
}
