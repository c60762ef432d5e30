/** What is wrong with how a process was started: its message is for whoever did so, and needs no stack. */
export class StartError extends Error {}

const DEFAULT_PORT = 3000
const HIGHEST_PORT = 65_535

/** The port of the variable PORT. */
export function portOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_PORT
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (port <= HIGHEST_PORT) return port
  throw new StartError(
    `PORT must be a whole number from 0 to ${HIGHEST_PORT}, 0 for a free one; this is "${text}".`
  )
}

/** Runs what starts a process, and ends it with one line when it was started wrong. */
export async function explained(start: () => Promise<void>): Promise<void> {
  try {
    await start()
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    console.error(error.message)
    process.exit(1)
  }
}
