import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './machine.js'

const folder = join(root, 'benchmarks/results')

export function saveResult(question: string, result: object): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${question}.json`), `${JSON.stringify(result, null, 2)}\n`)
}

/** Undefined when the question was never asked here. */
export function readResult<T>(question: string): T | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, `${question}.json`), 'utf8')) as T
  } catch {
    return undefined
  }
}
