import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findOffences } from './check-imports.js'

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'corral-imports-'))
})

afterEach(() => {
  rmSync(root, { recursive: true, force: true })
})

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

function offences(): string[] {
  return findOffences(root).map(({ place, imports }) => `${place} ${imports}`)
}

describe('the import check', () => {
  it('is content with imports that point down, sideways in one folder, and to Node', () => {
    write(
      'src/index.ts',
      "export { createCache } from './create-cache.js'\nexport type { Entry } from './entry.js'"
    )
    write('src/create-cache.ts', "import { read } from './read/read.js'\nimport './telemetry/log.js'")
    write('src/read/read.ts', "import { decide } from './decide.js'\nimport { tier } from '../tiers/tier.js'")
    write('src/redis/client.ts', "import { Redis } from 'ioredis'\nimport { once } from 'node:events'")
    write('src/options.ts', "import type { RedisOptions } from 'ioredis'\nimport { clock } from './clock.js'")
    expect(offences()).toEqual([])
  })

  it.each([
    ['upwards', 'src/redis/a.ts', "import { tier } from '../tiers/tier.js'"],
    ['upwards for a type', 'src/keys/a.ts', "import type { Cache } from '../cache.js'"],
    ['upwards by re-export', 'src/errors.ts', "export * from './cache.js'"],
    ['upwards at run time', 'src/codec/a.ts', "export const late = () => import('../redis/client.js')"],
    ['sideways to a folder on the same line', 'src/read/a.ts', "import { put } from '../write/put.js'"],
    ['from the core to telemetry', 'src/tiers/a.ts', "import { count } from '../telemetry/metrics.js'"],
    ['from telemetry to the core', 'src/telemetry/a.ts', "import { read } from '../read/read.js'"],
    [
      'from an integration past the public names',
      'src/integrations/a.ts',
      "import { read } from '../read/read.js'"
    ],
    ['of ioredis outside the Redis folder', 'src/tiers/a.ts', "import { Redis } from 'ioredis'"],
    [
      'of ioredis at run time where its types are allowed',
      'src/options.ts',
      "import { Redis } from 'ioredis'"
    ],
    [
      'of an optional peer from the root entry',
      'src/create-cache.ts',
      "import { Registry } from 'prom-client'"
    ],
    ['out of src', 'src/read/a.ts', "import { fake } from '../../test/fake.js'"],
    ['from a unit that is in no line', 'src/misc/a.ts', "import { now } from '../clock.js'"],
    [
      'by path from an example',
      'examples/shop/src/a.ts',
      "import { createCache } from '../../../src/index.js'"
    ]
  ])('finds an import %s', (_, path, text) => {
    write(path, `// The first line.\n${text}\n`)
    expect(offences()).toEqual([`${path}:2 ${/'([^']+)'/.exec(text)?.[1]}`])
  })

  it('leaves tests alone', () => {
    write('src/redis/a.test.ts', "import { createCache } from '../index.js'\nimport { it } from 'vitest'")
    expect(offences()).toEqual([])
  })
})
