import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

const SHOWN_OF_LOG = 3_000

/** Where one of several Sentinels of a folder writes what it does. */
export function sentinelLog(folder: string, index: number): string {
  return join(folder, `sentinel-${index}.log`)
}

/** Of all of them: why they did not do what they are there for. */
export async function lastWords(folder: string, sentinels: number): Promise<string> {
  const logs = await Promise.all(
    Array.from({ length: sentinels }, (_, index) => readFile(sentinelLog(folder, index), 'utf8'))
  )
  return logs.map((log, index) => `Sentinel ${index}:\n${log.slice(-SHOWN_OF_LOG)}`).join('\n')
}
