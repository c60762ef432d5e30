import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as corral from 'corral'
import { describe, expect, it } from 'vitest'

const dist = fileURLToPath(new URL('../dist', import.meta.url))
const written = readdirSync(dist, { recursive: true, encoding: 'utf8' })

describe('the files of the package', () => {
  it('have errors with the names by which they are exported', () => {
    const classes = Object.entries(corral).filter(
      ([, value]) => typeof value === 'function' && value.prototype instanceof Error
    )
    expect(classes.length).toBeGreaterThan(10)
    // An error takes its name from its class, and a bundler gives another name to what occurs twice.
    expect(classes.map(([, { name }]) => name)).toEqual(classes.map(([name]) => name))
  })

  it('are there when dist/index.js is, by which a build counts as made that was interrupted', () => {
    const writtenAt = (file: string): bigint => statSync(join(dist, file), { bigint: true }).mtimeNs
    const late = written.filter(
      (file) => /\.js(\.map)?$/.test(file) && writtenAt(file) > writtenAt('index.js')
    )
    expect(late).toEqual([])
  })

  it('are few, and have maps that lead to the sources beside them', () => {
    const scripts = written.filter((file) => file.endsWith('.js'))
    expect(scripts.length).toBeLessThan(8)
    for (const script of scripts) {
      const file = join(dist, `${script}.map`)
      const { sources } = JSON.parse(readFileSync(file, 'utf8')) as { sources: string[] }
      for (const source of sources)
        expect([source, existsSync(join(dirname(file), source))]).toEqual([source, true])
    }
  })
})
