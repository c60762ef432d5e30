import { parseArgs } from 'node:util'
import { note } from './versus.js'

export interface Options<Name extends string> {
  /** Fewer rounds: to see that it works, not to compare. */
  readonly quick: boolean
  /** What each option was given; nothing where it was left out. */
  readonly chosen: Readonly<Record<Name, readonly string[]>>
  /** Whether less is asked than the whole question: what comes out is shown, and not kept. */
  readonly isPartial: boolean
}

/** By option, what it can be given; undefined where that is no name from a list. Each may be repeated. */
export type Choices<Name extends string> = Readonly<Record<Name, readonly string[] | undefined>>

/** A complete run takes long and replaces what is kept: nothing that was misspelt may become one. */
export class Refusal extends Error {}

/** What the command line of a question says; ends the process when it says nothing that can be done. */
export function optionsOf<Name extends string = never>(choices: Choices<Name>): Options<Name> {
  const args = process.argv.slice(2)
  if (args.includes('--help')) {
    console.log(usageOf(choices))
    process.exit(0)
  }
  try {
    return parseOptions(args, choices)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    note(`${error.message}\n${usageOf(choices)}`)
    process.exit(2)
  }
}

export function parseOptions<Name extends string>(
  args: readonly string[],
  choices: Choices<Name>
): Options<Name> {
  const names = Object.keys(choices) as Name[]
  const values = valuesIn(args, names)
  const chosen = Object.fromEntries(names.map((name) => [name, values[name] ?? []])) as unknown as Record<
    Name,
    readonly string[]
  >
  for (const name of names) {
    const unknown = chosen[name].find((value) => choices[name]?.includes(value) === false)
    if (unknown !== undefined) throw new Refusal(`--${name} cannot be "${unknown}"`)
  }
  const quick = values['quick'] === true
  return { quick, chosen, isPartial: quick || names.some((name) => chosen[name].length > 0) }
}

function valuesIn(
  args: readonly string[],
  names: readonly string[]
): Readonly<Record<string, undefined | true | readonly string[]>> {
  const several = { type: 'string', multiple: true } as const
  const options = {
    quick: { type: 'boolean' } as const,
    ...Object.fromEntries(names.map((name) => [name, several]))
  }
  try {
    return parseArgs({ args: [...args], options }).values as never
  } catch (error) {
    // Node goes on to say how a program would be written that takes it.
    throw new Refusal((error as Error).message.split('. ')[0])
  }
}

function usageOf<Name extends string>(choices: Choices<Name>): string {
  const all = Object.entries<readonly string[] | undefined>(choices).map(([name, values]) =>
    values === undefined
      ? `  --${name} …`
      : `  --${name} one of: ${values.map((value) => `"${value}"`).join(', ')}`
  )
  return [
    'It can be told, all but the first more than once:',
    '  --quick  a short version, to see that it works',
    ...all
  ].join('\n')
}
