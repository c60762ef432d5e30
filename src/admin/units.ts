const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** `1.5 MB`; by 1,024, as Redis counts. */
export function bytesText(bytes: number): string {
  let amount = bytes
  let unit = 0
  while (Math.abs(amount) >= 1_024 && unit < UNITS.length - 1) {
    amount /= 1_024
    unit++
  }
  return `${rounded(amount)} ${UNITS[unit]}`
}

/** `850 ms`, `12 s`, `3 min`, `5 h`, `2 d`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${rounded(ms)} ms`
  if (ms < 120_000) return `${rounded(ms / 1_000)} s`
  if (ms < 7_200_000) return `${rounded(ms / 60_000)} min`
  if (ms < 172_800_000) return `${rounded(ms / 3_600_000)} h`
  return `${rounded(ms / 86_400_000)} d`
}

export function percentText(share: number): string {
  return `${rounded(share * 100)} %`
}

export function countText(count: number): string {
  return Math.round(count).toLocaleString('en-US')
}

/** `1 key`, `2 keys`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${countText(count)} ${count === 1 ? one : many}`
}

function rounded(amount: number): string {
  if (amount === 0) return '0'
  return String(Math.abs(amount) >= 100 ? Math.round(amount) : Number(amount.toPrecision(2)))
}

const MULTIPLES: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1_024,
  m: 1e6,
  mb: 1_024 ** 2,
  g: 1e9,
  gb: 1_024 ** 3
}

/** `512mb`, `2gb`, `1000`, as redis.conf has them; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim())
  const multiple = MULTIPLES[match?.[2]?.toLowerCase() ?? '?']
  return match === null || multiple === undefined ? undefined : Math.round(Number(match[1]) * multiple)
}

/** The largest unit that loses nothing, as redis.conf writes it: `512mb`. */
export function redisBytes(bytes: number): string {
  for (const [unit, size] of [
    ['gb', 1_024 ** 3],
    ['mb', 1_024 ** 2],
    ['kb', 1_024]
  ] as const) {
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`
  }
  return bytes >= 10 * 1_024 ** 2 ? `${Math.floor(bytes / 1_024 ** 2)}mb` : String(bytes)
}

/** A key in a line for `redis-cli`: as it is where that reads it so, else in its quotes. */
export function redisArgument(key: string): string {
  if (/^[A-Za-z0-9_.@/+~%:,()=#{}-]+$/.test(key)) return key
  const escaped = key
    .replaceAll(/["\\]/g, '\\$&')
    .replaceAll(/[^ -~]/gu, (character) =>
      Array.from(Buffer.from(character), (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')
    )
  return `"${escaped}"`
}
