import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import {
  errorPageProblems,
  failureProblems,
  findProblems,
  indexProblems,
  linkProblems
} from './check-docs.js'
import { declarationsOf, eventsPage, optionsPage } from './reference-pages.js'

describe('the documentation', () => {
  it('says what the code says', () => {
    expect(findProblems(fileURLToPath(new URL('..', import.meta.url)))).toEqual([])
  })
})

describe('the check of the documentation', () => {
  it('writes events from their comments', () => {
    const page = eventsPage(
      declarationsOf(
        'events.ts',
        `export interface CacheEvents {
          /** A value
           *  was served. */
          hit: KeyFact & { readonly ageMs: number }
          gone: { readonly keys: readonly string[]; readonly why: Why }
        }
        /** As it is. */
        export type Why = 'a' | 'b'`
      ),
      'interface Counts {}'
    )
    expect(page).toContain('| `hit` | A value was served. | `key`, `collection`, `ageMs: number` |')
    expect(page).toContain('| `gone` |  | `keys: readonly string[]`, `why: Why` |')
    expect(page).toContain("- `Why`: `'a'`, `'b'`. As it is.")
    expect(page).toContain('interface Counts {}')
  })

  it('writes options from theirs', () => {
    const { interfaces } = declarationsOf(
      'options.ts',
      `export interface Options {
        /** Fresh for this long. */
        readonly ttl: Duration
        /** One or the other. */
        readonly way?: 'one' | 'other' | undefined
      }`
    )
    const page = optionsPage([{ title: 'Some', text: 'Text.', fields: interfaces.get('Options')!.fields }])
    expect(page).toContain('| `ttl` | `Duration` | Fresh for this long. **Required.** |')
    expect(page).toContain("| `way` | `'one' \\| 'other'` | One or the other. |")
  })

  it('finds codes without a section, sections without a code, and errors that nobody can import', () => {
    const code = `export type CorralErrorCode = 'A' | 'B'
      export class AError extends CorralError { constructor() { super('A', '') } }
      export class BError extends CorralError { constructor() { super('B', '') } }`
    const page =
      '# Errors\n\n## A\n\n`AError`. **How to solve.** Do.\n\n## C\n\n`CError`. **How to solve.** Do.\n'
    expect(errorPageProblems(code, 'AError', page)).toEqual([
      'src/index.ts does not export BError',
      'docs/reference/errors.md has no section "## B"',
      'docs/reference/errors.md: src/errors.ts has no code C'
    ])
  })

  it('finds pages that the index does not lead to', () => {
    const pages = [
      'docs/guides/a.md',
      'docs/concepts/b.md',
      'docs/decisions/0001-c.md',
      'docs/reference/api/d.md'
    ]
    expect(indexProblems('[a](guides/a.md) [b](concepts/b.md#part)', pages)).toEqual([])
    expect(indexProblems('[a](guides/a.md)', pages)).toEqual([
      'docs/README.md does not lead to docs/concepts/b.md'
    ])
  })

  it('finds numbers in titles without a row, and rows without a test that has their number', () => {
    const sources = new Map([
      ['test/a.test.ts', "it('a (#1)', …)\nit('b (#2, #30)', …)\nlet c = '#9'"],
      ['src/b.test.ts', "it('c (#2)', …)"]
    ])
    const rows = [
      '| 1 | a | a | [a](../test/a.test.ts "a (#1)") |',
      '| 3 | c | c | not tested: it cannot be |'
    ]
    const second = '| 2 | b | b | [a](../test/a.test.ts "a (#1)"), [b](../test/a.test.ts "b (#2, #30)") |'
    const thirtieth = '| 30 | d | d | [a](../test/a.test.ts "b (#2, #30)") |'
    expect(failureProblems([...rows, second, thirtieth].join('\n'), sources)).toEqual([])
    expect(failureProblems([...rows, thirtieth.replace('#30', '#300')].join('\n'), sources)).toEqual([
      'test/a.test.ts: docs/failures.md has no row for (#2)',
      'src/b.test.ts: docs/failures.md has no row for (#2)',
      'docs/failures.md: row 30 links to no title of a test with (#30), and does not say "not tested: …"'
    ])
  })

  it('follows links to files, headings and tests', () => {
    const files: Record<string, string> = {
      'a.test.ts': "it('does what it says', …)",
      'docs/b.md': '# What it is, *really*\n'
    }
    const check = (text: string): string[] =>
      linkProblems('docs/page.md', `# Here\n\n${text}`, (path) => files[path])
    expect(check('[a](../a.test.ts "does what it says") [b](b.md#what-it-is-really) [c](#here)')).toEqual([])
    expect(check('[d](https://example.org)\n```\n[x](nowhere.md)\n```')).toEqual([])
    expect(check('[a](../a.test.ts "does more")')).toEqual([
      'docs/page.md:3: a.test.ts has no test "does more"'
    ])
    expect(check('[b](b.md#other) [c](c.md)')).toEqual([
      'docs/page.md:3: docs/b.md has no heading for #other',
      'docs/page.md:3: there is no docs/c.md'
    ])
  })
})
