import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { OperatorAddress } from '../../redis/operator.js'
import { numberIn, type Info } from '../info.js'
import type { MemoryLimit } from './facts.js'

/** Where Linux tells of processes and of what they may use. */
export interface SystemFolders {
  readonly proc: string
  readonly cgroup: string
}

const SYSTEM: SystemFolders = { proc: '/proc', cgroup: '/sys/fs/cgroup' }
/** cgroup v1 says "no limit" by a number near 2^63. */
const NO_LIMIT = 2 ** 60

/**
 * How much memory Redis may use before the kernel ends it. A Redis on this machine is looked up in its cgroup; of another
 * machine's only the host's size is known, unless we are told.
 */
export async function findMemoryLimit(
  info: Info,
  address: OperatorAddress,
  toldBytes: number | undefined,
  folders: SystemFolders = SYSTEM
): Promise<MemoryLimit> {
  if (toldBytes !== undefined) return { bytes: toldBytes, source: 'told' }
  const host = numberIn(info, 'total_system_memory')
  const container = isHere(address) ? await cgroupLimit(numberIn(info, 'process_id'), folders) : undefined
  if (container !== undefined && (host === 0 || container < host))
    return { bytes: container, source: 'cgroup' }
  if (host > 0) return { bytes: host, source: 'host' }
  throw new Error('the server does not say how much memory its machine has; say it with --memory-limit')
}

/** Whether process ids that the server tells are this machine's. Behind a forwarded port they are not: see `isRedis`. */
export function isHere({ host }: OperatorAddress): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || host.startsWith('127.')
}

async function cgroupLimit(pid: number, folders: SystemFolders): Promise<number | undefined> {
  if (!(await isRedis(pid, folders))) return undefined
  const groups = (await textOf(join(folders.proc, String(pid), 'cgroup')))?.trim().split('\n') ?? []
  for (const group of groups) {
    const [, controllers, path] = group.split(':') as [string, string, string]
    const limit = await limitAlong(
      controllers === '' ? folders.cgroup : join(folders.cgroup, 'memory'),
      path,
      controllers === '' ? 'memory.max' : 'memory.limit_in_bytes'
    )
    if (limit !== undefined && (controllers === '' || controllers.split(',').includes('memory'))) return limit
  }
  return undefined
}

/** The process of that id may be another machine's Redis behind a forwarded port, and here an editor. */
async function isRedis(pid: number, folders: SystemFolders): Promise<boolean> {
  const name = await textOf(join(folders.proc, String(pid), 'comm'))
  return /redis|valkey|keydb/.test(name ?? '')
}

/** The least of the limits from the group up to the root: each holds for all below it. */
async function limitAlong(root: string, path: string, file: string): Promise<number | undefined> {
  let least: number | undefined
  for (let parts = path.split('/').filter(Boolean); ; parts = parts.slice(0, -1)) {
    const limit = Number(await textOf(join(root, ...parts, file)))
    if (limit > 0 && limit < NO_LIMIT && (least === undefined || limit < least)) least = limit
    if (parts.length === 0) return least
  }
}

/** A group without this limit, another system than Linux, and a sandbox that hides its limits. */
const NOT_TO_BE_HAD = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM'])

/** Undefined for a limit that is not to be had, which is judged as "not known". */
async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (NOT_TO_BE_HAD.has((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}
