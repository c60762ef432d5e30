/**
 * Shows where the code and the picture in ARCHITECTURE.md part: imports point down the table below, never up and never
 * sideways. Tests are exempt. `npm run check:imports` prints every edge that breaks a rule.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ParseResult, parseSync } from 'oxc-parser'

/**
 * From the top down. A unit is a folder of `src/` or a file at its root without `.ts`. It may import the units of every
 * line below its own; units on one line do not see each other, but for the vocabulary, which is one thing in several
 * files.
 */
const LAYERS: readonly (readonly string[])[] = [
  ['cli', 'dashboard'],
  ['admin', 'integrations', 'testing'],
  ['index'],
  ['create-cache'],
  ['corral-cache', 'vitals'],
  ['collection-source', 'ingest', 'write-transaction'],
  ['cache'],
  ['ad-hoc'],
  ['collection-view'],
  ['collection'],
  ['read', 'write', 'invalidation', 'tenants', 'behind'],
  ['tiers'],
  ['redis'],
  ['keys', 'codec', 'policy', 'sinks'],
  ['ambient-tenant'],
  [
    'ports',
    'sink',
    'options',
    'option-values',
    'resolve-options',
    'resolve-cache-options',
    'behind-options',
    'errors',
    'events',
    'entry',
    'clock',
    'durations',
    'stats',
    'health'
  ]
]
const VOCABULARY: readonly string[] = LAYERS.at(-1) ?? []

/** Units that may import less than the table gives them, and the units they may import. */
const NARROWER: Readonly<Record<string, readonly string[]>> = {
  integrations: ['index'],
  testing: ['index'],
  // An operator looks at what is stored from outside: entries and generations are read, never written, and nothing is
  // loaded. What changes something goes by way of `index`, as in any program, or is a deletion.
  admin: ['index', 'redis', 'tiers', 'keys', 'codec', 'entry', 'ports', 'durations', 'errors'],
  cli: ['admin', 'index', 'durations', 'errors'],
  dashboard: ['admin', 'index'],
  telemetry: VOCABULARY
}

/** Beside the table: facts go out as events, so nobody but the composition root and the public names knows this unit. */
const IMPORTERS: Readonly<Record<string, readonly string[]>> = {
  telemetry: ['create-cache', 'index']
}

/**
 * Packages, and the units that may load them. `types` may use their types only. Whatever is not listed must not be
 * needed by someone who imports `corral`: an optional peer belongs to a unit of `FREE_OF_PACKAGE_RULES`.
 */
const PACKAGES: Readonly<Record<string, { units: readonly string[]; types?: readonly string[] }>> = {
  ioredis: { units: ['redis'], types: ['ports', 'options'] },
  'lru-cache': { units: ['tiers', 'read'] }
}

/** Published as subpaths of their own: what they load, only their users install. */
const FREE_OF_PACKAGE_RULES: readonly string[] = ['integrations', 'telemetry', 'cli', 'dashboard']

/** Folders that use Corral as everyone does. */
const BY_PUBLISHED_NAME: readonly string[] = ['examples', 'benchmarks', 'dashboard-ui']

/** Measures a part that has no public name: the choice between serializers. */
const MEASURES_INTERNALS: readonly string[] = ['benchmarks/codec.ts']

export interface Offence {
  /** Path from the root of the project, and the line. */
  readonly place: string
  readonly imports: string
  readonly reason: string
}

interface Edge {
  readonly file: string
  readonly line: number
  readonly specifier: string
  readonly typeOnly: boolean
}

/** Every import in the project at `root` that breaks a rule. */
export function findOffences(root: string): Offence[] {
  const offences: Offence[] = []
  const check = (edge: Edge, judge: (edge: Edge) => string | undefined): void => {
    const reason = judge(edge)
    if (reason === undefined) return
    offences.push({ place: `${relative(root, edge.file)}:${edge.line}`, imports: edge.specifier, reason })
  }
  const source = join(root, 'src')
  for (const edge of edgesOf(sourceFiles(root, ['src']))) check(edge, (each) => judgeInside(each, source))
  for (const edge of edgesOf(sourceFiles(root, BY_PUBLISHED_NAME)))
    check(edge, (each) => judgeOutside(each, source))
  return offences
}

function sourceFiles(root: string, folders: readonly string[]): string[] {
  return folders
    .map((folder) => join(root, folder))
    .flatMap((folder) => (existsSync(folder) ? walk(folder) : []))
}

function walk(folder: string): string[] {
  const children = readdirSync(folder, { withFileTypes: true }).sort((a, b) => a.name.localeCompare(b.name))
  return children.flatMap((child) => {
    const path = join(folder, child.name)
    if (child.isDirectory()) return child.name === 'node_modules' ? [] : walk(path)
    return /(?<!\.test)\.tsx?$/.test(child.name) ? [path] : []
  })
}

function edgesOf(files: readonly string[]): Edge[] {
  return files.flatMap((file) => {
    const text = readFileSync(file, 'utf8')
    const parsed = parseSync(file, text)
    const failure = parsed.errors.find((error) => error.severity === 'Error')
    if (failure !== undefined) throw new Error(`${file} cannot be parsed: ${failure.message}`)
    return specifiersOf(parsed, text).map(({ specifier, start, typeOnly }) => ({
      file,
      line: text.slice(0, start).split('\n').length,
      specifier,
      typeOnly
    }))
  })
}

function specifiersOf(
  { module }: ParseResult,
  text: string
): { specifier: string; start: number; typeOnly: boolean }[] {
  const found: { specifier: string; start: number; typeOnly: boolean }[] = []
  for (const { moduleRequest, entries, start } of module.staticImports) {
    const typeOnly = entries.length > 0 && entries.every((entry) => entry.isType)
    found.push({ specifier: moduleRequest.value, start, typeOnly })
  }
  for (const { entries, start } of module.staticExports) {
    for (const { moduleRequest, isType } of entries) {
      if (moduleRequest !== null) found.push({ specifier: moduleRequest.value, start, typeOnly: isType })
    }
  }
  for (const { moduleRequest, start } of module.dynamicImports) {
    const literal = /^(['"`])(.*)\1$/s.exec(text.slice(moduleRequest.start, moduleRequest.end))?.[2]
    if (literal !== undefined) found.push({ specifier: literal, start, typeOnly: false })
  }
  return found
}

/** What is wrong with an import inside `src/`, or nothing. */
function judgeInside({ file, specifier, typeOnly }: Edge, source: string): string | undefined {
  const from = unitOf(file, source)
  if (!isKnown(from)) return `"${from}" stands in no line of the table in scripts/check-imports.ts`
  if (specifier.startsWith('node:')) return undefined
  if (!specifier.startsWith('.')) return judgePackage(from, packageOf(specifier), typeOnly)

  const target = resolve(dirname(file), specifier)
  if (!target.startsWith(source + sep)) return 'the published package holds nothing outside src'
  return judgeUnits(from, unitOf(target, source))
}

function judgeUnits(from: string, to: string): string | undefined {
  if (from === to) return undefined
  if (!isKnown(to)) return `"${to}" stands in no line of the table in scripts/check-imports.ts`
  const allowed = NARROWER[from]
  if (allowed !== undefined) {
    return allowed.includes(to) ? undefined : `"${from}" may import only ${allowed.join(', ')}`
  }
  const importers = IMPORTERS[to]
  if (importers !== undefined) {
    return importers.includes(from) ? undefined : `"${to}" may be imported only by ${importers.join(', ')}`
  }
  const [fromLayer, toLayer] = [layerOf(from), layerOf(to)]
  if (fromLayer < toLayer) return undefined
  if (fromLayer > toLayer) return `"${to}" stands above "${from}"`
  return VOCABULARY.includes(from)
    ? undefined
    : `"${from}" and "${to}" share a line; put what both need below`
}

function judgePackage(from: string, name: string, typeOnly: boolean): string | undefined {
  if (FREE_OF_PACKAGE_RULES.includes(from)) return undefined
  const rule = PACKAGES[name]
  if (rule === undefined) return `"${name}" is not a dependency of the root entry`
  if (rule.units.includes(from) || (typeOnly && rule.types?.includes(from) === true)) return undefined
  const types = rule.types === undefined ? '' : `, its types also in ${rule.types.join(', ')}`
  return `"${name}" is used only in ${rule.units.join(', ')}${types}`
}

/** What is wrong with an import of a folder that uses Corral from outside, or nothing. */
function judgeOutside({ file, specifier }: Edge, source: string): string | undefined {
  if (!specifier.startsWith('.') || isExempt(file, source)) return undefined
  const inside = resolve(dirname(file), specifier).startsWith(source + sep)
  return inside ? 'this folder uses Corral as everyone does: by its published name' : undefined
}

function isExempt(file: string, source: string): boolean {
  return MEASURES_INTERNALS.includes(relative(dirname(source), file).split(sep).join('/'))
}

/** `src/read/read.ts` → `read`; `src/cache.ts` → `cache`. */
function unitOf(path: string, source: string): string {
  const first = relative(source, path).split(sep)[0] ?? ''
  return first.replace(/\.[jt]s$/, '')
}

function isKnown(unit: string): boolean {
  return layerOf(unit) !== -1 || unit in NARROWER
}

function layerOf(unit: string): number {
  return LAYERS.findIndex((units) => units.includes(unit))
}

/** `@scope/name/deep` → `@scope/name`; `name/deep` → `name`. */
function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const offences = findOffences(join(dirname(fileURLToPath(import.meta.url)), '..'))
  for (const { place, imports, reason } of offences) console.error(`${place} imports ${imports}: ${reason}`)
  if (offences.length > 0) {
    console.error(`${offences.length} imports break the rules at the top of scripts/check-imports.ts`)
    process.exitCode = 1
  } else {
    console.log('All imports point one way')
  }
}
