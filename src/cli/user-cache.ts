import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Cache } from '../index.js'
import { UsageError } from './exit.js'
import type { Terminal } from './terminal.js'

/** The part of a cache that commands about what is written behind call. */
export type UserCache = Pick<Cache, 'worker' | 'deadLetters' | 'close' | 'on'>

/**
 * The cache of a program: sinks and loaders are functions, so they can only come from its own code. Loads the module,
 * which opens the cache's connections.
 */
export async function importCache(file: string, terminal: Terminal): Promise<UserCache> {
  const path = resolve(terminal.folder, file)
  let module: { readonly default?: unknown; readonly cache?: unknown }
  try {
    module = (await import(pathToFileURL(path).href)) as typeof module
  } catch (error) {
    throw new UsageError(
      `${path} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`
    )
  }
  const cache = module.cache ?? module.default
  if (isCache(cache)) return cache
  throw new UsageError(
    `${path} exports no cache: export what createCache returned, as "cache" or as default.`
  )
}

function isCache(value: unknown): value is UserCache {
  const { worker, close } = (value ?? {}) as Partial<UserCache>
  return typeof worker === 'function' && typeof close === 'function'
}
