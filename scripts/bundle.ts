/**
 * Writes the JavaScript of `dist/`: one file for each entry of the package, and what they share in `dist/chunks/`.
 *
 * Files one for one would be as good to read, and are what tsc would write. But a process that imports them asks the
 * file system for 140 modules, which takes longer than to run them. Nothing is minified: names in a stack trace are those of
 * the sources, and the maps lead there.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')

// Names of chunks are of their content: what an earlier build wrote would stay, and be published.
const before = existsSync(dist) ? readdirSync(dist, { recursive: true, encoding: 'utf8' }) : []
for (const file of before) if (/\.js(?:\.map)?$/.test(file)) rmSync(join(dist, file))
await build({
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
