import { parseArgs } from 'node:util'

export interface DemoOptions {
  /** End after the story in place of serving on. */
  readonly once: boolean
  /** How many processes serve the API. */
  readonly processes: number
  /** How many requests hit the home page in one instant. */
  readonly requests: number
  /** How long each of them waits for its answer, in milliseconds. */
  readonly patienceMs: number
}

export const USAGE = `npm run demo -- [options]

  --once            end after the story; without it the API goes on serving until Ctrl-C
  --processes <n>   processes that serve the API, 1 to 32 (4)
  --requests <n>    requests that hit the home page in one instant, 1 to 20000 (5000)
  --patience <s>    seconds that each of them waits for its answer, 1 to 3600 (10)
  --help            this text`

/** What is wrong with the command line, for its user. */
export class UsageError extends Error {}

export function parseArguments(args: readonly string[]): DemoOptions | 'help' {
  const values = parse(args)
  if (values.help === true) return 'help'
  return {
    once: values.once === true,
    processes: numberOf('--processes', values.processes ?? '4', 1, 32),
    requests: numberOf('--requests', values.requests ?? '5000', 1, 20_000),
    patienceMs: 1000 * numberOf('--patience', values.patience ?? '10', 1, 3600)
  }
}

function parse(args: readonly string[]): {
  once?: boolean
  processes?: string
  requests?: string
  patience?: string
  help?: boolean
} {
  try {
    return parseArgs({
      args: [...args],
      options: {
        once: { type: 'boolean' },
        processes: { type: 'string' },
        requests: { type: 'string' },
        patience: { type: 'string' },
        help: { type: 'boolean' }
      }
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function numberOf(name: string, text: string, lowest: number, highest: number): number {
  const value = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN
  if (value >= lowest && value <= highest) return value
  throw new UsageError(`${name} must be a whole number from ${lowest} to ${highest}; this is "${text}".`)
}
