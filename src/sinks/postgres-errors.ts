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

/**
 * Whether what PostgreSQL says lies in a row. Of its classes: 21, two operations whose ids differ and name one row, which pass one
 * after the other; 22 data, 23 constraints, 44 check options, 38 what a function in another language throws; a program limit
 * such as an index row that is too long; a row that a policy refuses; and what a trigger raises, under a code of its own too.
 * Everything else says nothing about a row: a lost connection, a lock, a missing right.
 */
export function liesInRow(error: unknown): boolean {
  if (error instanceof UnwritableValueError || error instanceof TwoOfOneRowError) return true
  const { code, routine, position } = (error ?? {}) as Readonly<Record<string, unknown>>
  if (typeof code !== 'string') return false
  if (/^(21|22|23|38|44|P0)...$|^54000$/.test(code)) return true
  if (code === MISSING_RIGHT && routine === CHECKED) return true
  // That of a statement has a place in it. Else it is the syntax of a value, of a text search or a path of labels.
  if (code === SYNTAX && position === undefined) return true
  // A trigger may also ask for another attempt, by the code of a lock or of what is away.
  return routine === RAISED && !/^(08|40|53|55|57|58)...$/.test(code)
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
