/**
 * Keeps the documentation and the code saying the same.
 *
 *   npx tsx scripts/check-docs.ts           prints where they part
 *   npx tsx scripts/check-docs.ts --write   writes docs/reference/{events,health,options}.md and api/ from the sources
 *
 * Checked: those pages are what the code says, and each export has its place and its comment; docs/reference/errors.md
 * has a section for each code, with its class; links lead somewhere, and those of docs/README.md to every guide and
 * concept; the test that a link names is in the file that it leads to; the numbers in titles of tests are rows of
 * docs/failures.md, and each row there leads to a test with its number, or says why there is none.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { declarationsOf, generatedPages } from './reference-pages.js'

/** What is wrong with the page of errors, given the code. */
export function errorPageProblems(errorsSource: string, indexSource: string, page: string): string[] {
  const problems: string[] = []
  const codes = declarationsOf('errors.ts', errorsSource).unions.get('CorralErrorCode')?.members ?? []
  const known = new Set(codes.map((code) => code.slice(1, -1)))
  const classOf = new Map(
    [...errorsSource.matchAll(/export class (\w+) extends CorralError[\s\S]*?super\(\s*'(\w+)'/g)].map(
      ([, name, code]) => [code!, name!]
    )
  )
  const sections = new Map(
    page
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.slice(0, section.indexOf('\n')).trim(), section])
  )
  for (const code of known) {
    const section = sections.get(code)
    const name = classOf.get(code)
    if (name === undefined) problems.push(`src/errors.ts: no class has the code ${code}`)
    else if (!indexSource.includes(name)) problems.push(`src/index.ts does not export ${name}`)
    if (section === undefined) problems.push(`docs/reference/errors.md has no section "## ${code}"`)
    else if (name !== undefined && !section.includes(`\`${name}\``)) {
      problems.push(`docs/reference/errors.md: the section ${code} does not name \`${name}\``)
    } else if (!section.includes('**How to solve.**')) {
      problems.push(`docs/reference/errors.md: the section ${code} does not say "**How to solve.**"`)
    }
  }
  for (const code of sections.keys()) {
    if (!known.has(code)) problems.push(`docs/reference/errors.md: src/errors.ts has no code ${code}`)
  }
  return problems
}

/** `[text](target "name of a test")` */
const LINK = /\[[^\]]*\]\(([^()\s]+)(?: "([^"]*)")?\)/g

/** Links of a page that lead nowhere, and tests that are not where the link says. `read` gives undefined for what is not there. */
export function linkProblems(
  page: string,
  text: string,
  read: (path: string) => string | undefined
): string[] {
  const problems: string[] = []
  for (const [index, line] of withoutCode(text).split('\n').entries()) {
    for (const [, target, title] of line.matchAll(LINK)) {
      if (/^[a-z]+:/.test(target!)) continue
      const [path, anchor] = target!.split('#')
      const file = path === '' ? page : join(dirname(page), path!)
      const found = file === page ? text : read(file)
      const place = `${page}:${index + 1}`
      if (found === undefined) problems.push(`${place}: there is no ${file}`)
      else if (anchor !== undefined && !anchorsOf(found).has(anchor)) {
        problems.push(`${place}: ${file} has no heading for #${anchor}`)
      } else if (title !== undefined && !found.includes(title)) {
        problems.push(`${place}: ${file} has no test "${title}"`)
      }
    }
  }
  return problems
}

function withoutCode(markdown: string): string {
  return markdown.replaceAll(/^```[\s\S]*?^```$/gm, (block) => block.replaceAll(/[^\n]/g, ''))
}

/** As GitHub makes them. */
function anchorsOf(markdown: string): Set<string> {
  const headings = [...withoutCode(markdown).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading!)
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
        .replaceAll(' ', '-')
    )
  )
}

const OUTSIDE_DOCS = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'deploy/README.md',
  'examples/reference-api/README.md'
]

function pagesOf(root: string): string[] {
  const inDocs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  return OUTSIDE_DOCS.concat(inDocs.filter((path) => path.endsWith('.md')).map((path) => `docs/${path}`))
}

/** Guides, concepts and pages to look things up in that the index of the documentation does not lead to. */
export function indexProblems(index: string, pages: readonly string[]): string[] {
  return pages
    .filter((page) => /^docs\/(guides|concepts|reference)\/[^/]+\.md$/.test(page))
    .filter((page) => !index.includes(`](${page.slice('docs/'.length)}`))
    .map((page) => `docs/README.md does not lead to ${page}`)
}

/** Where docs/failures.md and the numbers in titles of tests, `(#4)` or `(#4, #33)`, part. */
export function failureProblems(page: string, sources: ReadonlyMap<string, string>): string[] {
  const rows = new Map([...page.matchAll(/^\| (\d+) \| .*$/gm)].map(([row, number]) => [number!, row]))
  const problems: string[] = []
  for (const [path, text] of sources) {
    const numbers = [...text.matchAll(/\((#\d+(?:, #\d+)*)\)/g)].flatMap(([, tags]) => tags!.match(/\d+/g)!)
    for (const number of new Set(numbers)) {
      if (!rows.has(number)) problems.push(`${path}: docs/failures.md has no row for (#${number})`)
    }
  }
  for (const [number, row] of rows) {
    const leadsToTest = new RegExp(`\\.ts "[^"]*#${number}\\b[^"]*"\\)`).test(row)
    if (!leadsToTest && !row.includes('not tested: ')) {
      problems.push(
        `docs/failures.md: row ${number} links to no title of a test with (#${number}), and does not say "not tested: …"`
      )
    }
  }
  return problems
}

/** Everything that is wrong with the documentation of the project at `root`. */
export function findProblems(root: string): string[] {
  const textOf = (path: string): string => readFileSync(join(root, path), 'utf8')
  const read = (path: string): string | undefined => {
    if (!existsSync(join(root, path))) return undefined
    return /\.\w+$/.test(path) ? textOf(path) : ''
  }
  const problems: string[] = []
  const generated = generatedPages(root)
  for (const [path, text] of generated) {
    if (read(path) !== text)
      problems.push(`${path} is not what the code says: npx tsx scripts/check-docs.ts --write`)
  }
  for (const page of pagesOf(root)) {
    if (page.startsWith('docs/reference/api/') && !generated.has(page))
      problems.push(`${page} is written by no group of scripts/api-reference.ts any more: delete it`)
  }
  const errors = read('docs/reference/errors.md') ?? ''
  problems.push(...errorPageProblems(textOf('src/errors.ts'), textOf('src/index.ts'), errors))
  problems.push(...indexProblems(read('docs/README.md') ?? '', pagesOf(root)))
  for (const page of pagesOf(root)) problems.push(...linkProblems(page, textOf(page), read))
  const sources = ['src', 'test'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => [`${folder}/${path}`, textOf(`${folder}/${path}`)] as const)
  )
  problems.push(...failureProblems(read('docs/failures.md') ?? '', new Map(sources)))
  return problems
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = join(dirname(fileURLToPath(import.meta.url)), '..')
  if (process.argv.includes('--write')) {
    for (const [path, text] of generatedPages(root)) {
      mkdirSync(join(root, dirname(path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
  }
  const problems = findProblems(root)
  for (const problem of problems) console.error(problem)
  if (problems.length === 0) console.log('The documentation says what the code says')
  else process.exitCode = 1
}
