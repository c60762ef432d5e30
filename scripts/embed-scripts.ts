/**
 * Turns `src/redis/lua/*.lua` into `src/redis/lua.generated.ts`, so that the published package holds its scripts as
 * text: nothing is read from disk at run time, and a bundler needs no loader for `.lua`.
 *
 * A line `-- @include name` is replaced by `src/redis/lua/includes/name.lua`, once per script however often it is asked
 * for. Comments on lines of their own and blank lines are dropped: every server keeps the text of every script it
 * has seen, and a cold connection sends it. A comment after code stays, because telling it from a string would take a
 * Lua parser.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const INCLUDE = /^\s*--\s*@include\s+(\S+)\s*$/
const COMMENT = /^\s*--/
const BLOCK_COMMENT = /^\s*--\[=*\[/

/** Every script of a folder, by its file name without `.lua`, in the order of the alphabet. */
export function collectScripts(folder: string): Map<string, string> {
  const scripts = new Map<string, string>()
  for (const file of luaFiles(folder)) {
    scripts.set(basename(file, '.lua'), assemble(file, join(folder, 'includes'), new Set(), []).join('\n'))
  }
  return scripts
}

/** The module that `src/redis/scripts.ts` imports. */
export function renderModule(scripts: ReadonlyMap<string, string>): string {
  const entries = [...scripts].map(([name, text]) => `  ${quote(name)}: ${quote(text)}`)
  const table = entries.length === 0 ? '{}' : `{\n${entries.join(',\n')}\n}`
  return `// Written by scripts/embed-scripts.ts from src/redis/lua; change the .lua files instead.\nexport const LUA = ${table} as const\n`
}

/** The lines of one script with its includes in place. `chain` is the way here, to name a circle when there is one. */
function assemble(file: string, includesFolder: string, included: Set<string>, chain: string[]): string[] {
  if (chain.includes(file)) {
    throw new Error(
      `Lua includes go in a circle: ${[...chain, file].map((path) => basename(path)).join(' → ')}`
    )
  }
  const lines: string[] = []
  for (const [index, line] of readFileSync(file, 'utf8').split(/\r?\n/).entries()) {
    const place = `${relative(process.cwd(), file)}:${index + 1}`
    const name = INCLUDE.exec(line)?.[1]
    if (name !== undefined) {
      const path = join(includesFolder, `${name}.lua`)
      if (!existsSync(path)) throw new Error(`${place} includes "${name}", but ${path} does not exist`)
      if (included.has(path) && !chain.includes(path)) continue
      included.add(path)
      lines.push(...assemble(path, includesFolder, included, [...chain, file]))
    } else if (BLOCK_COMMENT.test(line)) {
      throw new Error(
        `${place} opens a block comment; begin each line with "--" instead, so that it can be dropped`
      )
    } else if (line.trim() !== '' && !COMMENT.test(line)) {
      lines.push(line.trimEnd())
    }
  }
  return lines
}

function luaFiles(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.endsWith('.lua'))
    .sort()
    .map((name) => join(folder, name))
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`
}

/** Writes by rename: a test run may import the module while a build writes it. */
function writeWhenChanged(path: string, text: string): boolean {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return false
  mkdirSync(dirname(path), { recursive: true })
  const temporary = `${path}.${process.pid}.tmp`
  writeFileSync(temporary, text)
  renameSync(temporary, path)
  return true
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = join(dirname(fileURLToPath(import.meta.url)), '..')
  const target = join(root, 'src/redis/lua.generated.ts')
  const scripts = collectScripts(join(root, 'src/redis/lua'))
  const changed = writeWhenChanged(target, renderModule(scripts))
  console.log(`${relative(root, target)}: ${scripts.size} Lua scripts${changed ? '' : ', unchanged'}`)
}
