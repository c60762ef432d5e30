/** A value that no column of the type can hold. It lies in the operation, so it would fail for ever. */
export class UnwritableValueError extends Error {
  constructor(column: string, value: unknown, type: string, options?: ErrorOptions, cannot = 'hold') {
    super(`Column "${column}" of type ${type} cannot ${cannot} ${describe(value)}`, options)
    this.name = 'UnwritableValueError'
  }
}

export interface ColumnType {
  readonly column: string
  /** Without its length or precision: a cast to `varchar(3)` would cut without a word, an insert refuses. */
  readonly type: string
  readonly isArray: boolean
  /** Whether a number can be added to it. */
  readonly isNumber: boolean
}

/**
 * A value as the text that PostgreSQL reads it from. Every column travels as `text[]` and is cast there, so that one
 * prepared statement serves any number of rows and any type that has a text form.
 */
export function toText(value: unknown, { column, type, isArray }: ColumnType): string | null {
  if (value === undefined || value === null) return null
  if (type === 'json' || type === 'jsonb') return jsonText(value, column, type)
  if (isArray && Array.isArray(value)) return arrayText(value, column, type)
  switch (typeof value) {
    case 'string':
      return value
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'object':
      if (value instanceof Date) return dateText(value, column, type)
      if (ArrayBuffer.isView(value)) {
        return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`
      }
  }
  throw new UnwritableValueError(column, value, type)
}

function dateText(value: Date, column: string, type: string): string {
  if (Number.isNaN(value.getTime())) throw new UnwritableValueError(column, value, type)
  return value.toISOString()
}

function jsonText(value: unknown, column: string, type: string): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value) as string | undefined
  } catch {
    text = undefined // A bigint, for which JSON has no form.
  }
  if (text === undefined) throw new UnwritableValueError(column, value, type)
  return text
}

function arrayText(values: readonly unknown[], column: string, type: string): string {
  const element = { column, type: type.replace(/\[\]$/, ''), isArray: true, isNumber: false }
  const parts = values.map((value) => {
    if (Array.isArray(value)) return arrayText(value, column, type)
    const text = toText(value, element)
    return text === null ? 'NULL' : `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  })
  return `{${parts.join(',')}}`
}

function describe(value: unknown): string {
  if (typeof value === 'object') return `an object of type ${value?.constructor?.name ?? 'Object'}`
  return `a ${typeof value}`
}
