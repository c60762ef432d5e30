import { styleText } from 'node:util'

/** The value that this share of the sorted list does not exceed. */
export function percentile(sorted: readonly number[], percent: number): number {
  const index = Math.ceil((percent / 100) * sorted.length) - 1
  return sorted[Math.max(0, index)] ?? Number.NaN
}

export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** Up to three figures and a unit: `0.18 ms`, `12.5 ms`, `1.42 s`, `5.3 min`. */
export function duration(ms: number): string {
  if (ms >= 120_000) return `${(ms / 60_000).toFixed(1)} min`
  const [value, unit] = ms < 999.5 ? [ms, 'ms'] : [ms / 1000, 's']
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value < 10 ? 2 : 1
  return `${value.toFixed(digits)} ${unit}`
}

/** Lines of a table: the first column to the left, the others to the right, the header underlined by its own dashes. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((_, column) =>
    Math.max(...[header, ...rows].map((row) => row[column]?.length ?? 0))
  )
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)
      )
      .join('   ')
      .trimEnd()
  return [line(header), line(widths.map((width) => '─'.repeat(width))), ...rows.map(line)]
    .map((text) => `  ${text}`)
    .join('\n')
}

export function heading(text: string): string {
  return `\n${isColoured() ? styleText('bold', text) : text}\n`
}

function isColoured(): boolean {
  return process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === ''
}
