/** What the logs of the writers allow the tables to be. */
export interface StormLog {
  /** Events by what is known of them. */
  readonly events: Map<string, 'begun' | 'acknowledged' | 'refused'>
  readonly counters: Map<number, { acknowledged: number; unknown: number }>
  /** Of each row its writes in their order. */
  readonly rows: Map<string, { n: number; state: 'begun' | 'acknowledged' | 'refused' }[]>
  /** Values that were read back wrongly. */
  readonly wrongReads: string[]
  readonly unknown: number
  readonly acknowledged: number
}

export interface Tables {
  readonly events: ReadonlyMap<string, number>
  readonly counters: ReadonlyMap<number, number>
  readonly rows: ReadonlyMap<string, number>
  /** Values in the order in which each row had them. */
  readonly history: ReadonlyMap<string, readonly number[]>
}

export function readLog(lines: Iterable<string>): StormLog {
  const events: StormLog['events'] = new Map()
  const increments = new Map<string, { id: number; state: 'begun' | 'acknowledged' | 'refused' }>()
  const rows: StormLog['rows'] = new Map()
  const wrongReads: string[] = []
  for (const line of lines) {
    if (line.startsWith('X')) wrongReads.push(line)
    const state = STATES[line[0] as keyof typeof STATES]
    if (state === undefined) continue
    const [kind, first, second] = line.slice(1).split(' ') as [string, string, string]
    if (kind === 'E') events.set(first, state)
    else if (kind === 'C') increments.set(second, { id: Number(first), state })
    else {
      const ofRow = rows.get(first) ?? []
      if (state === 'begun') ofRow.push({ n: Number(second), state })
      else ofRow.at(-1)!.state = state
      rows.set(first, ofRow)
    }
  }
  const counters: StormLog['counters'] = new Map()
  for (const { id, state } of increments.values()) {
    const counter = counters.get(id) ?? { acknowledged: 0, unknown: 0 }
    if (state === 'acknowledged') counter.acknowledged++
    else if (state === 'begun') counter.unknown++
    counters.set(id, counter)
  }
  const all = [
    ...events.values(),
    ...[...increments.values()].map((one) => one.state),
    ...[...rows.values()].flat().map((one) => one.state)
  ]
  return {
    events,
    counters,
    rows,
    wrongReads,
    unknown: all.filter((state) => state === 'begun').length,
    acknowledged: all.filter((state) => state === 'acknowledged').length
  }
}

const STATES = { '+': 'begun', '!': 'acknowledged', '?': 'refused' } as const

/** Everything in which the tables differ from what one process after the other could have made of the same operations. */
export function differences(log: StormLog, tables: Tables): string[] {
  const found: string[] = []
  for (const [id, state] of log.events) {
    const count = tables.events.get(id) ?? 0
    if (state === 'acknowledged' && count === 0) found.push(`lost: event ${id}`)
    if (state === 'refused' && count > 0) found.push(`refused and yet there: event ${id}`)
    if (count > 1) found.push(`doubled: event ${id}, ${count} times`)
  }
  for (const id of tables.events.keys()) if (!log.events.has(id)) found.push(`from nowhere: event ${id}`)
  for (const [id, { acknowledged, unknown }] of log.counters) {
    const count = tables.counters.get(id) ?? 0
    if (count < acknowledged) found.push(`lost: counter ${id} is ${count}, ${acknowledged} acknowledged`)
    if (count > acknowledged + unknown) {
      found.push(`doubled: counter ${id} is ${count}, ${acknowledged} acknowledged and ${unknown} unknown`)
    }
  }
  for (const [id, writes] of log.rows) {
    const now = tables.rows.get(id)
    if (!possibleEnds(writes).has(now))
      found.push(`row ${id} is ${now}, possible: ${[...possibleEnds(writes)].join(', ')}`)
  }
  for (const id of tables.counters.keys())
    if (!log.counters.has(id)) found.push(`from nowhere: counter ${id}`)
  for (const id of tables.rows.keys()) if (!log.rows.has(id)) found.push(`from nowhere: row ${id}`)
  for (const [id, values] of tables.history) {
    const fallen = values.findIndex((value, index) => index > 0 && value < values[index - 1]!)
    if (fallen !== -1)
      found.push(`out of order: row ${id} went from ${values[fallen - 1]} to ${values[fallen]}`)
    // Each write of a row has a number of its own.
    const twice = values.find((value, index) => index > 0 && value === values[index - 1])
    if (twice !== undefined) found.push(`doubled: row ${id} became ${twice} twice`)
    const refused = values.find((value) =>
      log.rows.get(id)?.some(({ n, state }) => n === value && state === 'refused')
    )
    if (refused !== undefined) found.push(`refused and yet there: row ${id} became ${refused}`)
  }
  return found
}

/** The last write that was acknowledged, or any of unknown outcome after it. */
function possibleEnds(writes: readonly { n: number; state: string }[]): Set<number | undefined> {
  const ends = new Set<number | undefined>()
  for (let index = writes.length - 1; index >= 0; index--) {
    const { n, state } = writes[index]!
    if (state !== 'refused') ends.add(n % 7 === 0 ? undefined : n)
    if (state === 'acknowledged') return ends
  }
  return ends.add(undefined)
}
