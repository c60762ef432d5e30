/** What `npm run bench` was asked for. */
export type Command =
  | { readonly do: 'ask'; readonly questions: readonly string[]; readonly options: readonly string[] }
  | { readonly do: 'explain' }
  | { readonly do: 'refuse'; readonly why: string }

const QUICK = '--quick'

/** Questions and `--quick` come first; what else there is belongs to the one question before it. */
export function parseCommand(args: readonly string[], known: readonly string[]): Command {
  const firstOther = args.findIndex((arg) => arg.startsWith('-') && arg !== QUICK)
  const [own, others] = firstOther === -1 ? [args, []] : [args.slice(0, firstOther), args.slice(firstOther)]
  const named = [...new Set(own.filter((arg) => arg !== QUICK))]
  const unknown = named.filter((name) => !known.includes(name))
  if (unknown.length > 0) return { do: 'refuse', why: `There is no benchmark "${unknown.join('", "')}"` }
  if (named.length === 0 && ['--help', '-h'].includes(others[0] ?? '')) return { do: 'explain' }
  if (others.length > 0 && named.length !== 1)
    return { do: 'refuse', why: `${others[0]} is for one benchmark, named before it` }
  const quick = own.includes(QUICK) ? [QUICK] : []
  return { do: 'ask', questions: named.length > 0 ? named : known, options: [...quick, ...others] }
}
