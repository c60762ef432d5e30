/**
 * What processes that write behind note, a line each. Lines that test/faults/behind-model.ts reads: `+` begun, `!` accepted,
 * `?` refused with certainty, then `E` an event, `C` a counter and the increment, `R` a row and the number of its write;
 * here with the time and, where it began, the process. Besides `=`: a read of a row or counter.
 */

export interface Attempt {
  readonly kind: 'R' | 'C'
  readonly id: string
  /** Of a row's write its number: they are made one after the other. */
  readonly n: number
  readonly process: number
  readonly startedAt: number
  endedAt: number | undefined
  state: 'unknown' | 'accepted' | 'refused'
}

export interface Seen {
  readonly kind: 'R' | 'C'
  readonly id: string
  readonly value: number | undefined
  readonly startedAt: number
  readonly endedAt: number
  /** `lone`: loaded without Redis. */
  readonly source: string
  readonly process: number
}

export interface BehindHistory {
  /** By kind and id, in the order in which they began. */
  readonly attempts: ReadonlyMap<string, readonly Attempt[]>
  readonly reads: readonly Seen[]
}

/** @param lines whole ones */
export function readBehindHistory(lines: Iterable<string>): BehindHistory {
  const attempts = new Map<string, Attempt[]>()
  const open = new Map<string, Attempt>()
  const reads: Seen[] = []
  for (const line of lines) {
    if (line.startsWith('= ')) reads.push(readSeen(line))
    if (!/^[+!?][RC] /.test(line)) continue
    const [kind, id, what, at, process] = line.slice(1).split(' ') as [
      'R' | 'C',
      string,
      string,
      string,
      string
    ]
    const name = `${kind} ${id} ${what}`
    if (line[0] === '+') {
      const attempt: Attempt = {
        kind,
        id,
        n: kind === 'R' ? Number(what) : 0,
        process: Number(process),
        startedAt: Number(at),
        endedAt: undefined,
        state: 'unknown'
      }
      open.set(name, attempt)
      const known = attempts.get(`${kind} ${id}`)
      if (known === undefined) attempts.set(`${kind} ${id}`, [attempt])
      else known.push(attempt)
    } else {
      const attempt = open.get(name)!
      attempt.endedAt = Number(at)
      attempt.state = line[0] === '!' ? 'accepted' : 'refused'
    }
  }
  return { attempts, reads }
}

function readSeen(line: string): Seen {
  const [, kind, id, value, startedAt, endedAt, source, process] = line.split(' ') as [
    string,
    'R' | 'C',
    string,
    string,
    string,
    string,
    string,
    string
  ]
  return {
    kind,
    id,
    value: value === 'undefined' ? undefined : Number(value),
    startedAt: Number(startedAt),
    endedAt: Number(endedAt),
    source,
    process: Number(process)
  }
}
