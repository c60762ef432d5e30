/** A value that no column of the type can hold. It lies in the operation, so it would fail for ever. */
export class UnwritableValueError extends Error {
  constructor(column: string, value: unknown, type: string, options?: ErrorOptions, cannot = 'hold') {
    super(`Column "${column}" of type ${type} cannot ${cannot} ${describe(value)}`, options)
    this.name = 'UnwritableValueError'
  }
}

/** Two ids that differ name one row. One after the other they pass. */
export class TwoOfOneRowError extends Error {
  constructor(table: string) {
    super(`Two ids name one row of table "${table}"`)
    this.name = 'TwoOfOneRowError'
  }
}

/** A value that its column's type cannot read, and says so under a code that tells nothing, as the types of some extensions do. */
export class UnreadableValueError extends Error {
  /** What PostgreSQL gave, for the dead letter. */
  readonly code: string

  constructor(cause: { readonly code: string; readonly message: string }) {
    super(cause.message, { cause })
    this.name = 'UnreadableValueError'
    this.code = cause.code
  }
}

/**
 * Whether what PostgreSQL says lies in a row. Of its classes: 21, two operations whose ids differ and name one row, which pass one
 * after the other; 22 data, 23 constraints, 44 check options; what happens in a function: 20 a CASE without an ELSE, 27 a trigger
 * that changes the row at hand, 2F one that ends without an answer, 38 and 39 one in another language; a program limit such as an
 * index row that is too long, or a function that calls itself without end; a row that a policy refuses; and what a trigger raises,
 * under a code of its own too. Everything else says nothing about a row: a lost connection, a lock, a missing right.
 */
export function liesInRow(error: unknown): boolean {
  if (error instanceof UnwritableValueError || error instanceof UnreadableValueError) return true
  if (error instanceof TwoOfOneRowError) return true
  const { code, routine, position } = (error ?? {}) as Readonly<Record<string, unknown>>
  if (typeof code !== 'string') return false
  if (/^(20|21|22|23|27|2F|38|39|44|P0)...$|^5400[01]$/.test(code)) return true
  if (code === MISSING_RIGHT && routine === CHECKED) return true
  // That of a statement has a place in it. Else it is the syntax of a value, of a text search or a path of labels.
  if (code === SYNTAX && position === undefined) return true
  // A trigger may also ask for another attempt, by the code of a lock or of what is away.
  return routine === RAISED && !/^(08|40|53|55|57|58)...$/.test(code)
}

/** Of what says nothing by its code: what may be told apart by reading the values alone, as their columns would, and writing nothing. */
export function mayLieInValue(error: unknown): error is { readonly code: string; readonly message: string } {
  const { code } = (error ?? {}) as { readonly code?: unknown }
  return typeof code === 'string' && /^(0A|XX)000$/.test(code)
}

export function isMissingRight(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === MISSING_RIGHT
}

/** Of a policy that refuses a row, and of a right that the table itself asks for. */
const MISSING_RIGHT = '42501'

const SYNTAX = '42601'

/** Where PostgreSQL says that an error comes from: looking at one row, for a policy or the condition of a view. */
const CHECKED = 'ExecWithCheckOptions'

/** A RAISE of PL/pgSQL. */
const RAISED = 'exec_stmt_raise'

function describe(value: unknown): string {
  if (value === null) return 'nothing'
  if (typeof value === 'object') return `an object of type ${value.constructor?.name ?? 'Object'}`
  return `a ${typeof value}`
}
