/** What the exit code says. Stable. */
export const EXIT = {
  /** Done, and nothing to complain of. */
  fine: 0,
  /** The doctor found something, or what was asked could not be done. */
  failed: 1,
  /** The command line, the environment or the configuration file is wrong. */
  usage: 2
} as const

/** Something to be mended in how the command was called. */
export class UsageError extends Error {}

/** Something that could not be done; what was found out is printed already, or in the message. */
export class CommandFailed extends Error {}
