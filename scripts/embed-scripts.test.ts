import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { collectScripts, renderModule } from './embed-scripts.js'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'corral-embed-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function write(name: string, lines: string[]): void {
  const path = join(folder, name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, lines.join('\n'))
}

describe('embedding Lua scripts', () => {
  it('drops comment lines and blank lines, and keeps code as it is', () => {
    write('take.lua', [
      '-- Takes the lease.',
      '',
      'local key = KEYS[1] -- the lease',
      '  -- why',
      "return 'it''s -- ok'"
    ])
    expect(collectScripts(folder).get('take')).toBe("local key = KEYS[1] -- the lease\nreturn 'it''s -- ok'")
  })

  it('puts an include in place once, includes of includes before it', () => {
    write('includes/clock.lua', ['local clock = 1'])
    write('includes/entry.lua', ['-- @include clock', 'local entry = 2'])
    write('fill.lua', ['-- @include entry', '-- @include clock', '-- @include entry', 'return entry'])
    expect(collectScripts(folder).get('fill')).toBe('local clock = 1\nlocal entry = 2\nreturn entry')
  })

  it('names the file and line of an include that does not exist', () => {
    write('fill.lua', ['return 1', '-- @include nothing'])
    expect(() => collectScripts(folder)).toThrow(/fill\.lua:2 includes "nothing"/)
  })

  it('refuses includes that go in a circle', () => {
    write('includes/a.lua', ['-- @include b'])
    write('includes/b.lua', ['-- @include a'])
    write('fill.lua', ['-- @include a'])
    expect(() => collectScripts(folder)).toThrow(
      'Lua includes go in a circle: fill.lua → a.lua → b.lua → a.lua'
    )
  })

  it('refuses a block comment, which it could not drop line by line', () => {
    write('fill.lua', ['--[[ a long story', ']]', 'return 1'])
    expect(() => collectScripts(folder)).toThrow(/fill\.lua:1 opens a block comment/)
  })

  it('renders a module that gives the very text back, quotes and backslashes included', async () => {
    write('odd.lua', [String.raw`return "a\nb" .. 'c\\' .. '${'$'}{x}'`])
    const scripts = collectScripts(folder)
    const path = join(folder, 'module.ts')
    writeFileSync(path, renderModule(scripts))
    const loaded = (await import(path)) as { LUA: Record<string, string> }
    expect(loaded.LUA).toEqual(Object.fromEntries(scripts))
  })

  it('renders an empty table when there is no script yet', () => {
    expect(renderModule(collectScripts(join(folder, 'absent')))).toContain('export const LUA = {} as const')
  })
})
