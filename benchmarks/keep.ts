import { saveResult } from './support/results.js'
import { note } from './support/versus.js'
import { writeDocs } from './write-docs.js'

/** What a whole question came to is kept, and shown where results are shown; of a part nothing is. */
export function keep(question: string, result: object, isPartial: boolean): void {
  if (isPartial) return note('\nA part or a short version: the committed result is left as it is.')
  saveResult(question, result)
  writeDocs()
  note(
    `\nKept in benchmarks/results/${question}.json; docs/benchmarks.md, its pictures and the table in README.md are written anew from it.`
  )
}
