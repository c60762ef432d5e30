import type { Mutation } from './mutation.js'

export type Choice =
  | { readonly chosen: readonly Mutation[]; readonly writes: boolean }
  | { readonly problem: string }

/** What the command line chooses of them: those of an invariant, or with these words. All, where it names none. */
export function chosenBy(args: readonly string[], all: readonly Mutation[]): Choice {
  const unknown = args.find((arg) => arg.startsWith('-') && arg !== '--write')
  if (unknown !== undefined) return { problem: `There is no option ${unknown}` }
  const parts = args.filter((arg) => arg !== '--write')
  const isOf = ({ invariant, without }: Mutation, part: string): boolean =>
    part === invariant || without.includes(part)
  const idle = parts.find((part) => !all.some((mutation) => isOf(mutation, part)))
  if (idle !== undefined) {
    const invariants = [...new Set(all.map(({ invariant }) => invariant))].toSorted()
    return { problem: `"${idle}" is in no sentence, and none of the invariants ${invariants.join(', ')}` }
  }
  const chosen = all.filter((mutation) => parts.length === 0 || parts.some((part) => isOf(mutation, part)))
  return { chosen, writes: args.includes('--write') }
}
