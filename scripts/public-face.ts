/**
 * What the package exports, read from the sources: every function, class, interface and type with its signature and the
 * comment over it. The sources are parsed and not compiled, so what is exported has to state its types.
 */
import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parseSync } from 'oxc-parser'

export type ItemKind = 'function' | 'class' | 'interface' | 'type' | 'constant'

export interface Member {
  readonly signature: string
  readonly text: string
}

export interface Item {
  readonly name: string
  readonly kind: ItemKind
  /** Markdown. */
  readonly text: string
  /** On one line for what has members, else as it stands in the source; of a function each overload. */
  readonly signature: string
  readonly members: readonly Member[]
  /** Where it is declared, from the root of the project. */
  readonly file: string
}

type Parsed = ReturnType<typeof parseSync>
type Statement = Parsed['program']['body'][number]
interface Span {
  readonly start: number
  readonly end: number
}

/** The exports of `entry`, a path from `root` such as `src/index.ts`, in their order. */
export function publicFace(
  root: string,
  entry: string,
  read: (file: string) => string = (file) => readFileSync(join(root, file), 'utf8')
): Map<string, Item> {
  const sources = new Map<string, SourceFile>()
  const open = (file: string): SourceFile => {
    const known = sources.get(file) ?? new SourceFile(file, read(file))
    sources.set(file, known)
    return known
  }
  const items = new Map<string, Item>()
  for (const { name, local, from } of open(entry).reExports) {
    const file = relative('.', join(dirname(entry), from.replace(/\.js$/, '.ts')))
    const item = open(file).itemOf(local)
    if (item === undefined) throw new Error(`${entry} exports ${name}, which ${file} does not declare`)
    items.set(name, { ...item, name })
  }
  return items
}

class SourceFile {
  readonly #file: string
  readonly #source: string
  readonly #parsed: Parsed

  constructor(file: string, source: string) {
    this.#file = file
    this.#source = source
    this.#parsed = parseSync(file, source)
    const [error] = this.#parsed.errors
    if (error !== undefined) throw new Error(`${file} cannot be parsed: ${error.message}`)
  }

  get reExports(): { readonly name: string; readonly local: string; readonly from: string }[] {
    return this.#parsed.program.body.flatMap((statement) => {
      if (statement.type !== 'ExportNamedDeclaration' || statement.source === null) return []
      const from = statement.source.value
      return statement.specifiers.map(({ exported, local }) => ({
        name: this.#textOf(exported),
        local: this.#textOf(local),
        from
      }))
    })
  }

  itemOf(name: string): Item | undefined {
    const found = this.#parsed.program.body.filter((statement) => nameOf(statement) === name)
    const [first] = found
    if (first?.type !== 'ExportNamedDeclaration' || first.declaration === null) return undefined
    const { declaration } = first
    const common = { name, text: proseOf(this.#commentBefore(first.start)), file: this.#file }
    switch (declaration.type) {
      case 'TSInterfaceDeclaration': {
        const signature = this.#line({ start: declaration.start, end: declaration.body.start })
        const members = declaration.body.body.map((member) => this.#member(member, member.end))
        return { ...common, kind: 'interface', signature, members }
      }
      case 'ClassDeclaration': {
        const signature = this.#line({ start: declaration.start, end: declaration.body.start })
        const members = declaration.body.body.flatMap((member) => {
          if (!('key' in member) || member.key.type === 'PrivateIdentifier' || member.static) return []
          // What a caller makes an instance by is for the library: who has one was given it.
          if (member.type === 'MethodDefinition' && member.kind === 'constructor') return []
          const body = member.type === 'MethodDefinition' ? member.value.body : null
          return [this.#member(member, body?.start ?? member.end)]
        })
        return { ...common, kind: 'class', signature, members }
      }
      case 'TSTypeAliasDeclaration':
        return { ...common, kind: 'type', signature: this.#textOf(declaration), members: [] }
      case 'FunctionDeclaration':
      case 'TSDeclareFunction': {
        // With overloads the last declaration is the implementation, which nobody can call.
        const overloads = found.length > 1 ? found.slice(0, -1) : found
        const signature = overloads.map((one) => this.#functionSignature(one)).join('\n')
        return { ...common, kind: 'function', signature, members: [] }
      }
      case 'VariableDeclaration':
        return { ...common, kind: 'constant', signature: this.#textOf(declaration), members: [] }
      default:
        throw new Error(`${this.#file}: ${name} is a ${declaration.type}, of which nothing is known here`)
    }
  }

  #functionSignature(statement: Statement): string {
    const declaration = statement.type === 'ExportNamedDeclaration' ? statement.declaration : null
    if (declaration?.type !== 'FunctionDeclaration' && declaration?.type !== 'TSDeclareFunction') return ''
    return this.#textOf({ start: declaration.start, end: declaration.body?.start ?? declaration.end }).trim()
  }

  #member(member: Span, end: number): Member {
    const signature = this.#line({ start: member.start, end })
      .replace(/^(public |declare )*(readonly )?/, '')
      .replace(/^get (\w+)\(\)/, '$1')
      .replace(/;$/, '')
      .replace(/^(\w+\?: .*) \| undefined$/, '$1')
      .replace(/^(\w+\??:) \| /, '$1 ')
      .replaceAll(/\( (?=\w)/g, '(')
      .replaceAll(/(?<=\S) \)/g, ')')
    return { signature, text: proseOf(this.#commentBefore(member.start)) }
  }

  /** On one line, without the comments in it. */
  #line({ start, end }: Span): string {
    const inside = this.#parsed.comments.filter((comment) => comment.start >= start && comment.end <= end)
    let [text, at] = ['', start]
    for (const comment of inside) {
      text += this.#source.slice(at, comment.start)
      at = comment.end
    }
    return (text + this.#source.slice(at, end))
      .replaceAll(/(?<![{(|&,;:\s]|=>)\s*\n\s*(?=readonly )/g, '; ')
      .replaceAll(/\s+/g, ' ')
      .replaceAll(/(?<=[{;] )readonly /g, '')
      .trim()
  }

  /** With a blank line between, a comment is about the file. */
  #commentBefore(start: number): string {
    const comment = this.#parsed.comments.findLast(
      ({ end, type, value }) =>
        type === 'Block' &&
        value.startsWith('*') &&
        end <= start &&
        /^\n? *$/.test(this.#source.slice(end, start))
    )
    return comment?.value ?? ''
  }

  #textOf({ start, end }: Span): string {
    return this.#source.slice(start, end)
  }
}

function nameOf(statement: Statement): string | undefined {
  if (statement.type !== 'ExportNamedDeclaration' || statement.declaration === null) return undefined
  const { declaration } = statement
  if (declaration.type === 'VariableDeclaration') {
    const [first] = declaration.declarations
    return first?.id.type === 'Identifier' ? first.id.name : undefined
  }
  return 'id' in declaration && declaration.id?.type === 'Identifier' ? declaration.id.name : undefined
}

/** A documentation comment as Markdown: paragraphs, code as it stands, what is said of parameters as a list. */
export function proseOf(comment: string): string {
  const blocks: string[] = []
  let inCode = false
  let startsAnew = true
  for (const raw of comment.split('\n')) {
    const line = raw.replace(/^\s*\*+ ?/, '').trimEnd()
    if (line.startsWith('```')) {
      if (inCode) blocks.push(`${blocks.pop()}\n${line}`)
      else blocks.push(line)
      inCode = !inCode
      startsAnew = true
    } else if (inCode) {
      blocks.push(`${blocks.pop()}\n${line}`)
    } else if (line.trim() === '') {
      startsAnew = true
    } else {
      const tag = /^@(\w+)\s+(.*)$/.exec(line.trim())
      if (tag !== null) blocks.push(tagged(tag[1]!, tag[2]!))
      else if (startsAnew) blocks.push(line.trim())
      else blocks.push(`${blocks.pop()} ${line.trim()}`)
      startsAnew = false
    }
  }
  return blocks.join('\n\n').replaceAll(/\n\n(?=- )/g, (gap, at: number, text: string) => {
    const before = text.slice(0, at)
    return before.slice(before.lastIndexOf('\n') + 1).startsWith('- ') ? '\n' : gap
  })
}

function tagged(tag: string, rest: string): string {
  if (tag === 'param') return rest.replace(/^(\S+)\s+/, '- `$1`: ')
  if (tag === 'returns') return `Gives ${rest}`
  if (tag === 'see') return `See ${rest}.`
  throw new Error(`A comment has @${tag}, which the reference does not know`)
}
