/** One guard of an invariant, taken away on purpose. */
export interface Mutation {
  /** What the code does without it, as a sentence. */
  readonly without: string
  readonly invariant: `${'I' | 'W' | 'M' | 'B'}${number}`
  readonly edits: readonly Edit[]
  /** Files of tests that have to notice; the first is named in the table when it does. */
  readonly tests: readonly string[]
}

/** In a copy of the sources; `find` must stand there exactly once. */
export interface Edit {
  readonly file: string
  readonly find: string
  readonly replace: string
}

export const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace })
