import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSync } from 'oxc-parser'

/*
 * How the examples in the documentation become programs.
 *
 *   ```ts                 the blocks of a page are one module, from top to bottom
 *   ```ts alone           a module of its own
 *   ```ts no-run why      a module of its own that is type-checked and not run; the reason is required
 *
 *   expression // => 42           the value deep-equals what stands there
 *   const name = … // => 42       the same of `name`;   console.log(x) // => 42   the same of `x`
 *   expression // => throws CODE  it throws an error with that `code`
 *
 * A claim that the program does not come to does not hold.
 *
 * A module keeps the line numbers of its page, so that what the compiler or Node says of line 42 is line 42 of the page.
 * `world.ts` has what the examples do not declare, such as `db`. Those that name `DATABASE_URL` find the tables of
 * `database/` in a real PostgreSQL.
 */

export interface ExampleModule {
  /** The page, with the first line of the block where the page has several modules. */
  readonly name: string
  readonly source: string
  readonly run: boolean
}

interface Block {
  readonly info: string
  /** Of the first line of code, counted from 1. */
  readonly line: number
  readonly lines: readonly string[]
}

/** Every page whose examples are held to what they say, as paths from `root`. */
export function documentationPages(root: string): string[] {
  const inDocs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => `docs/${path}`)
  return ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', ...inDocs.sort()]
}

export function modulesOfPage(root: string, page: string): ExampleModule[] {
  return modulesOf(page, readFileSync(join(root, page), 'utf8'))
}

export function modulesOf(page: string, markdown: string): ExampleModule[] {
  const together: Block[] = []
  const modules: ExampleModule[] = []
  for (const block of blocksOf(page, markdown)) {
    const [word, ...reason] = block.info.split(' ')
    if (word === '') together.push(block)
    else if (word === 'alone') modules.push(moduleOf(`${page}:${block.line}`, page, [block], true))
    else if (word === 'no-run' && reason.length > 0) {
      modules.push(moduleOf(`${page}:${block.line}`, page, [block], false))
    } else throw new Error(`${page}:${block.line}: "ts ${block.info}" is not a kind of example`)
  }
  return together.length === 0 ? modules : [moduleOf(page, page, together, true), ...modules]
}

function blocksOf(page: string, markdown: string): Block[] {
  const blocks: Block[] = []
  let open: { info: string; line: number; lines: string[] } | undefined
  for (const [index, line] of markdown.split('\n').entries()) {
    if (open !== undefined) {
      if (line.trim() === '```') {
        blocks.push(open)
        open = undefined
      } else open.lines.push(line)
      continue
    }
    const info = /^```ts(?: (.*))?$/.exec(line)
    if (info !== null) open = { info: (info[1] ?? '').trim(), line: index + 2, lines: [] }
  }
  if (open !== undefined) throw new Error(`${page}:${open.line}: the example has no end`)
  return blocks
}

function moduleOf(name: string, page: string, blocks: readonly Block[], run: boolean): ExampleModule {
  const lines: string[] = []
  for (const block of blocks) {
    while (lines.length < block.line - 1) lines.push('')
    lines.push(...block.lines)
  }
  // The first line of a page is its title, so there is room for the imports, which blocks may repeat.
  const { imports, code, places } = compile(page, lines.join('\n'))
  const head = `import './world.js'; import { holds, throws, wereReached } from './assertions.js'; ${imports}`
  return { name, source: `${head}${code}\nwereReached(${JSON.stringify(places)})\nprocess.exit(0)\n`, run }
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
}

type Program = ReturnType<typeof parseSync>['program']
type Statement = Extract<Program['body'][number], { type: 'ExpressionStatement' | 'VariableDeclaration' }>

interface Compiled {
  readonly imports: string
  readonly code: string
  /** Of its claims. */
  readonly places: readonly string[]
}

function compile(page: string, code: string): Compiled {
  const { program, comments, errors } = parseSync('example.ts', code)
  const failure = errors.find(({ severity }) => severity === 'Error')
  if (failure !== undefined) {
    const line = lineOf(code, failure.labels[0]?.start ?? 0)
    throw new Error(`${page}:${line}: the example cannot be parsed: ${failure.message}`)
  }
  const textOf = ({ start, end }: { start: number; end: number }): string => code.slice(start, end)
  const imports = new Set<string>()
  const edits: Edit[] = []
  const places: string[] = []
  for (const node of program.body) {
    if (node.type !== 'ImportDeclaration') continue
    for (const one of node.specifiers) {
      const name = node.importKind === 'type' ? `type ${textOf(one)}` : textOf(one)
      imports.add(
        one.type === 'ImportSpecifier'
          ? `import { ${name} } from ${node.source.raw}; `
          : `import ${name} from ${node.source.raw}; `
      )
    }
    edits.push({ ...span(node), text: textOf(node).replaceAll(/[^\n]/g, ' ') })
  }
  const statements = statementsIn(program)
  for (const comment of comments) {
    const claim = /^\s*=>\s*(.*)$/s.exec(comment.value)?.[1]
    if (claim === undefined) continue
    const place = `${page}:${lineOf(code, comment.start)}`
    const statement = statements.find(
      ({ end }) => end <= comment.start && /^[ ;]*$/.test(code.slice(end, comment.start))
    )
    if (statement === undefined) throw new Error(`${place}: nothing ends before "// =>" on this line`)
    places.push(place)
    edits.push(assertion(statement, claim.trim(), place, textOf))
  }
  let edited = code
  for (const { start, end, text } of edits.sort((a, b) => b.start - a.start)) {
    edited = edited.slice(0, start) + text + edited.slice(end)
  }
  return { imports: [...imports].join(''), code: withPatience(edited), places }
}

/**
 * A page shows defaults, and by default Redis has 200 ms for an answer. Where a machine has too much to do to give it those an example
 * loads anew, as it should, and says another source than its page.
 */
function withPatience(code: string): string {
  return code.includes('commandTimeout')
    ? code
    : code.replaceAll('createCache({', "createCache({ commandTimeout: '10s',")
}

/** What a claim can stand behind, wherever it lies. */
function statementsIn(node: unknown): Statement[] {
  if (typeof node !== 'object' || node === null) return []
  const inside = Object.values(node).flatMap(statementsIn)
  const { type } = node as Partial<Node>
  const isStatement = type === 'ExpressionStatement' || type === 'VariableDeclaration'
  return isStatement ? [node as Statement, ...inside] : inside
}

function assertion(statement: Statement, claim: string, place: string, textOf: (node: Node) => string): Edit {
  const at = JSON.stringify(place)
  if (statement.type === 'VariableDeclaration') {
    const name = textOf(statement.declarations[0]!.id)
    return { start: statement.end, end: statement.end, text: `; holds(${name}, ${claim}, ${at})` }
  }
  const { expression } = statement
  const isLog = expression.type === 'CallExpression' && textOf(expression.callee) === 'console.log'
  const subject = isLog ? expression.arguments.map(textOf).join(', ') : textOf(expression)
  const code = /^throws (\w+)$/.exec(claim)?.[1]
  const text =
    code === undefined
      ? `holds(${subject}, ${claim}, ${at})`
      : `await throws(async () => (${subject}), '${code}', ${at})`
  return { ...span(statement), text: `;${text}` }
}

const span = ({ start, end }: Node): { start: number; end: number } => ({ start, end })

const lineOf = (text: string, offset: number): number => text.slice(0, offset).split('\n').length
