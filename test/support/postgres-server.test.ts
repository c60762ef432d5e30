import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import pg from 'pg'
import { expect, it } from 'vitest'
import { startPostgresServer } from './postgres-server.js'

async function ask(url: string, sql: string): Promise<unknown> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(sql)).rows[0]
  } finally {
    await client.end()
  }
}

/**
 * Shared memory outlives processes, so it is the thing most easily left behind: the segments that this server made, by
 * the process that is noted with each. Other tests have servers of their own at the same time.
 */
function sharedMemoryOf(pid: number): string[] {
  if (!existsSync('/proc/sysvipc/shm')) return []
  const [head = '', ...segments] = readFileSync('/proc/sysvipc/shm', 'utf8').trimEnd().split('\n')
  const creator = head.trim().split(/\s+/).indexOf('cpid')
  return segments.filter((segment) => segment.trim().split(/\s+/)[creator] === String(pid))
}

it('answers at its URL with its settings, and leaves neither process, folder nor shared memory after stop', async () => {
  const server = await startPostgresServer({ durable: false, settings: { wal_level: 'logical' } })
  expect(await ask(server.url, 'show fsync')).toEqual({ fsync: 'off' })
  expect(await ask(server.url, 'show wal_level')).toEqual({ wal_level: 'logical' })
  expect(await ask(server.url, "select upper('é') as letter")).toEqual({ letter: 'É' })
  if (existsSync('/proc/sysvipc/shm')) expect(sharedMemoryOf(server.pid)).not.toEqual([])
  await server.stop()
  await server.stop()
  expect(() => process.kill(server.pid, 0)).toThrow()
  expect(existsSync(server.folder)).toBe(false)
  expect(sharedMemoryOf(server.pid)).toEqual([])
})

it('shows what the server said when it does not start', async () => {
  await expect(startPostgresServer({ settings: { wal_level: 'sideways' } })).rejects.toThrow(/wal_level/)
})

it('ends with its process, even when that is killed with SIGKILL', async () => {
  const script = `
    import { startPostgresServer } from ${JSON.stringify(new URL('./postgres-server.ts', import.meta.url).href)}
    const server = await startPostgresServer({ durable: false })
    console.log(JSON.stringify({ pid: server.pid, folder: server.folder }))
    process.kill(process.pid, 'SIGKILL')`
  let printed = ''
  try {
    execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: 'pipe'
    })
  } catch (error) {
    printed = String((error as { stdout: unknown }).stdout)
  }
  const { pid, folder } = JSON.parse(printed) as { pid: number; folder: string }
  await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 10_000 }).toBe(false)
  await expect.poll(() => existsSync(folder), { timeout: 10_000 }).toBe(false)
  await expect.poll(() => sharedMemoryOf(pid), { timeout: 10_000 }).toEqual([])
})
