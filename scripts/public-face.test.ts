import { describe, expect, it } from 'vitest'
import { proseOf, publicFace, type Item } from './public-face.js'

function faceOf(files: Record<string, string>): Map<string, Item> {
  return publicFace('', 'src/index.ts', (file) => {
    const source = files[file]
    if (source === undefined) throw new Error(`There is no ${file}`)
    return source
  })
}
const oneOf = (declaration: string, name: string): Item =>
  faceOf({ 'src/index.ts': `export { ${name} } from './parts/one.js'`, 'src/parts/one.ts': declaration }).get(
    name
  )!

describe('what the package exports', () => {
  it('is found where it is declared, under the name by which it is exported', () => {
    const face = faceOf({
      'src/index.ts':
        "export { type One, two as Two } from './parts/one.js'\nexport type { Three } from './three.js'",
      'src/parts/one.ts':
        'export interface One {}\nexport function two(): void {}\nexport interface Inner {}',
      'src/three.ts': 'export type Three = 3'
    })
    expect([...face].map(([name, { kind, file }]) => [name, kind, file])).toEqual([
      ['One', 'interface', 'src/parts/one.ts'],
      ['Two', 'function', 'src/parts/one.ts'],
      ['Three', 'type', 'src/three.ts']
    ])
    expect(() => oneOf('export type Other = 1', 'Missing')).toThrow('does not declare')
  })

  it('has the members of an interface, each on one line, with what is said of it', () => {
    const { text, signature, members } = oneOf(
      `/** About the file. */

/** A shelf. */
export interface Shelf<T> extends Wood {
  /**
   * How many.
   * At most.
   */
  readonly size?: number | undefined
  put(
    one: T // on top
  ): void
  readonly at: {
    /** From the left. */
    readonly x: number
    readonly y: number
  }
}`,
      'Shelf'
    )
    expect([text, signature]).toEqual(['A shelf.', 'interface Shelf<T> extends Wood'])
    expect(members).toEqual([
      { signature: 'size?: number', text: 'How many. At most.' },
      { signature: 'put(one: T): void', text: '' },
      { signature: 'at: { x: number; y: number }', text: '' }
    ])
  })

  it('leaves out of a class what a caller cannot use', () => {
    const { members } = oneOf(
      `export class Door {
  readonly #key = 1
  static made = 0
  /** Of oak. */
  declare readonly wood: string
  constructor(wood: string) {}
  get isOpen(): boolean { return false }
  open(hard: boolean): Promise<void> { return Promise.resolve() }
}`,
      'Door'
    )
    expect(members.map((member) => member.signature)).toEqual([
      'wood: string',
      'isOpen: boolean',
      'open(hard: boolean): Promise<void>'
    ])
  })

  it('has a function without its body, and its overloads without the implementation', () => {
    const single = oneOf('/** Adds. */\nexport function add(a: number): number { return a }', 'add')
    expect([single.text, single.signature]).toEqual(['Adds.', 'function add(a: number): number'])
    const overloaded = oneOf(
      'export function f(a: 1): 1\nexport function f(a: 2): 2\nexport function f(a: unknown): unknown { return a }',
      'f'
    )
    expect(overloaded.signature).toBe('function f(a: 1): 1\nfunction f(a: 2): 2')
  })

  it('has comments as Markdown', () => {
    const comment = `*
 * One
 * line.
 *
 * Another:
 *
 * \`\`\`
 * code()
 *   .more()
 * \`\`\`
 *
 * @param a the first
 *   of them
 * @param b the other
 `
    expect(proseOf(comment)).toBe(
      'One line.\n\nAnother:\n\n```\ncode()\n  .more()\n```\n\n- `a`: the first of them\n- `b`: the other'
    )
    expect(() => proseOf('*\n * @deprecated since long\n')).toThrow('@deprecated')
  })
})
