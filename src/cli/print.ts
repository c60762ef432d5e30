import { stripVTControlCharacters, styleText } from 'node:util'
import type { Terminal } from './terminal.js'

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan' | 'magenta'

export type Paint = (style: Style, text: string) => string

/** Colour for people only: not into files and pipes, and not for who set NO_COLOR. https://no-color.org */
export function painter(terminal: Terminal, isTerminal = terminal.outIsTerminal): Paint {
  const { NO_COLOR, FORCE_COLOR, TERM } = terminal.env
  const isForced = FORCE_COLOR !== undefined && FORCE_COLOR !== '0' && FORCE_COLOR !== ''
  const isOn = (NO_COLOR === undefined || NO_COLOR === '') && (isForced || (isTerminal && TERM !== 'dumb'))
  // Whether to paint is decided here, on the streams that were passed in, and not by what Node's own are.
  return isOn ? (style, text) => styleText(style, text, { validateStream: false }) : (_style, text) => text
}

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/** Text that others have made, such as a key: what would steer the terminal, begin another line or hide is escaped. */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0)!.toString(16)
    return code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `\\u{${code}}`
  })
}

export interface Column {
  readonly title: string
  readonly right?: boolean
}

/** Rows under each other; the last column is left as long as it is. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  paint: Paint
): string {
  // Not by spreading: there may be more rows than a call takes arguments.
  const widths = columns.map(({ title }, index) =>
    rows.reduce((width, row) => Math.max(width, widthOf(row[index] ?? '')), title.length)
  )
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ right }, index) => {
        const cell = cells[index] ?? ''
        const gap = ' '.repeat(Math.max(0, widths[index]! - widthOf(cell)))
        if (right === true) return gap + cell
        return index === columns.length - 1 ? cell : cell + gap
      })
      .join('  ')
      .trimEnd()
  return [paint('dim', line(columns.map(({ title }) => title))), ...rows.map(line), ''].join('\n')
}

function widthOf(text: string): number {
  return stripVTControlCharacters(text).length
}

/** Names and what they are, one a line. */
export function facts(rows: readonly (readonly [string, string])[], paint: Paint): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${paint('dim', name.padEnd(width))}  ${value}\n`).join('')
}

/** Text in lines of at most `columns`, each behind `indent`. */
export function wrapped(text: string, indent: string, columns: number): string {
  const width = Math.max(30, columns - indent.length)
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines.map((line) => `${indent}${line}\n`).join('')
}

export function json(value: unknown): string {
  return `${JSON.stringify(value, (_name, field: unknown) => jsonField(field), 2)}\n`
}

/** What JSON has no form for, told as what it is. */
function jsonField(field: unknown): unknown {
  if (typeof field === 'bigint') return `${field}n`
  if (field instanceof Map) return { '#': 'Map', entries: [...(field as Map<unknown, unknown>)] }
  if (field instanceof Set) return { '#': 'Set', values: [...(field as Set<unknown>)] }
  return field
}
