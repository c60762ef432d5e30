/**
 * Writes the JavaScript of `dist/`: one file for each entry of the package, and what they share in `dist/chunks/`.
 *
 * Files one for one would be as good to read, and are what tsc would write. But a process that imports them asks the
 * file system for 140 modules, which takes longer than to run them. Nothing is minified: names in a stack trace are those of
 * the sources, and the maps lead there.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')

// Names of chunks are of their content: what an earlier build wrote would stay, and be published.
const before = existsSync(dist) ? readdirSync(dist, { recursive: true, encoding: 'utf8' }) : []
for (const file of before) if (/\.js(?:\.map)?$/.test(file)) rmSync(join(dist, file))
const { outputFiles } = await build({
  write: false,
  absWorkingDir: root,
  entryPoints: ['src/index.ts', 'src/testing/index.ts', 'src/cli/main.ts'],
  outbase: 'src',
  outdir: dist,
  chunkNames: 'chunks/[hash]',
  bundle: true,
  // An error is of one class, whichever entry it was imported from.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  sourcemap: true,
  // The sources are in the package.
  sourcesContent: false,
  logLevel: 'warning'
})
// By dist/index.js a build counts as made, so what is interrupted here has none.
const isLast = ({ path }: { readonly path: string }): boolean => path === join(dist, 'index.js')
for (const { path, contents, text } of outputFiles.toSorted((one, other) => +isLast(one) - +isLast(other))) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, contents, { mode: text.startsWith('#!') ? 0o755 : 0o644 })
}
