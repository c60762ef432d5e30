import { UnwritableValueError } from './postgres-errors.js'

export interface ColumnType {
  readonly column: string
  /** Without its length or precision: a cast to `varchar(3)` would cut without a word, an insert refuses. */
  readonly type: string
  readonly isArray: boolean
  /** Whether a number can be added to it. */
  readonly isNumber: boolean
  /** What its values are, or the elements of its arrays, under whatever name: JSON; a date or a time without a zone. */
  readonly form: 'json' | 'zoneless' | 'other'
}

/**
 * A value as the text that PostgreSQL reads it from. Every column travels as `text[]` and is cast there, so that one
 * prepared statement serves any number of rows and any type that has a text form.
 */
export function toText(value: unknown, of: ColumnType): string | null {
  const { column, type, isArray, form } = of
  if (value === undefined || value === null) return null
  if (isArray && Array.isArray(value)) return arrayText(value, of)
  if (form === 'json' && !isArray) return jsonText(value, column, type)
  switch (typeof value) {
    case 'string':
      return value
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'object':
      if (value instanceof Date) return dateText(value, of)
      if (ArrayBuffer.isView(value)) {
        return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`
      }
  }
  throw new UnwritableValueError(column, value, type)
}

function dateText(value: Date, { column, type, form }: ColumnType): string {
  if (Number.isNaN(value.getTime())) throw new UnwritableValueError(column, value, type)
  return form === 'zoneless' ? localText(value) : value.toISOString()
}

/** As `pg` reads such a column and writes it: in UTC a day that was read east of Greenwich would be the day before. */
function localText(value: Date): string {
  const year = value.getFullYear()
  const day = [year > 0 ? year : 1 - year, value.getMonth() + 1, value.getDate()]
  const time = [value.getHours(), value.getMinutes(), value.getSeconds()]
  const [date, clock] = [day.map(twoDigits).join('-'), time.map(twoDigits).join(':')]
  return `${date.padStart(10, '0')} ${clock}.${String(value.getMilliseconds()).padStart(3, '0')}${year > 0 ? '' : ' BC'}`
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0')
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

function arrayText(values: readonly unknown[], of: ColumnType): string {
  const element = { ...of, isArray: false }
  const parts = values.map((value) => {
    if (Array.isArray(value)) return arrayText(value, of)
    const text = toText(value, element)
    return text === null ? 'NULL' : `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  })
  return `{${parts.join(',')}}`
}
