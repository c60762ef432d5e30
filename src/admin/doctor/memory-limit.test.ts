import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createTemporaryFolder, type TemporaryFolder } from '../../../test/support/temporary-folder.js'
import { findMemoryLimit } from './memory-limit.js'

const folders: TemporaryFolder[] = []
afterEach(() => Promise.all(folders.splice(0).map((folder) => folder.remove())))

/** Files as Linux shows them, of a process 42. */
async function system(files: Readonly<Record<string, string>>): Promise<{ proc: string; cgroup: string }> {
  const folder = await createTemporaryFolder('limit')
  folders.push(folder)
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder.path, path)), { recursive: true })
    await writeFile(join(folder.path, path), text)
  }
  return { proc: join(folder.path, 'proc'), cgroup: join(folder.path, 'cgroup') }
}

const HERE = { host: '127.0.0.1', port: 6379, tls: false, database: 0, hasCredentials: false }
const INFO = new Map([
  ['process_id', '42'],
  ['total_system_memory', '8000']
])
const REDIS = { 'proc/42/comm': 'redis-server\n', 'proc/42/cgroup': '0::/pod/redis\n' }

describe('the memory that Redis may use', () => {
  it('is what we are told, before anything else', async () => {
    expect(await findMemoryLimit(INFO, HERE, 77)).toEqual({ bytes: 77, source: 'told' })
  })

  it('is the least limit from its group to the root', async () => {
    const folders = await system({
      ...REDIS,
      'cgroup/pod/redis/memory.max': 'max\n',
      'cgroup/pod/memory.max': '5000\n',
      'cgroup/memory.max': 'max\n'
    })
    expect(await findMemoryLimit(INFO, HERE, undefined, folders)).toEqual({ bytes: 5000, source: 'cgroup' })
  })

  it('is that of the older kind of groups', async () => {
    const folders = await system({
      'proc/42/comm': 'valkey-server\n',
      'proc/42/cgroup': '3:cpu,cpuacct:/x\n2:memory:/pod\n',
      'cgroup/memory/pod/memory.limit_in_bytes': '4000\n',
      'cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n'
    })
    expect(await findMemoryLimit(INFO, HERE, undefined, folders)).toEqual({ bytes: 4000, source: 'cgroup' })
  })

  it('is the machine’s when there is no limit, when it is another machine, and when the process is none of Redis', async () => {
    const folders = await system({ ...REDIS, 'cgroup/pod/redis/memory.max': 'max\n' })
    const host = { bytes: 8000, source: 'host' }
    expect(await findMemoryLimit(INFO, HERE, undefined, folders)).toEqual(host)
    expect(await findMemoryLimit(INFO, { ...HERE, host: '10.0.0.1' }, undefined, folders)).toEqual(host)
    const editor = await system({ ...REDIS, 'proc/42/comm': 'vim\n', 'cgroup/pod/redis/memory.max': '10\n' })
    expect(await findMemoryLimit(INFO, HERE, undefined, editor)).toEqual(host)
  })

  it('is not made up when nobody says', async () => {
    const folders = await system({})
    await expect(findMemoryLimit(new Map(), HERE, undefined, folders)).rejects.toThrow('--memory-limit')
  })
})
