/** What INFO answered, by name. */
export type Info = ReadonlyMap<string, string>

export function parseInfo(text: string): Info {
  const fields = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return fields
}

/** 0 for a field that this server does not have. */
export function numberIn(info: Info, field: string): number {
  const value = Number(info.get(field))
  return Number.isFinite(value) ? value : 0
}

/** `name=value,name=value`, as INFO writes its rows. */
export function rowIn(info: Info, field: string): Readonly<Record<string, string>> {
  const row = info.get(field)
  if (row === undefined) return {}
  return Object.fromEntries(row.split(',').map((pair) => pair.split('=') as [string, string]))
}

/** A flat reply of names and values in turn, as CONFIG GET and many others give it. */
export function pairsOf(reply: unknown): Map<string, string> {
  const pairs = new Map<string, string>()
  if (!Array.isArray(reply)) return pairs
  for (let index = 0; index + 1 < reply.length; index += 2) {
    pairs.set(String(reply[index]), String(reply[index + 1]))
  }
  return pairs
}
