import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
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

/** Shared memory outlives processes, so it is the thing most easily left behind. */
function sharedMemory(): string {
  const posix = existsSync('/dev/shm')
    ? readdirSync('/dev/shm').filter((name) => name.startsWith('PostgreSQL'))
    : []
  const segments = existsSync('/proc/sysvipc/shm')
    ? execFileSync('cat', ['/proc/sysvipc/shm']).toString()
    : ''
  return `${posix.length} ${segments.split('\n').length}`
}

it('answers at its URL with its settings, and leaves neither process, folder nor shared memory after stop', async () => {
  const before = sharedMemory()
  const server = await startPostgresServer({ durable: false, settings: { wal_level: 'logical' } })
  expect(await ask(server.url, 'show fsync')).toEqual({ fsync: 'off' })
  expect(await ask(server.url, 'show wal_level')).toEqual({ wal_level: 'logical' })
  expect(await ask(server.url, "select upper('é') as letter")).toEqual({ letter: 'É' })
  await server.stop()
  await server.stop()
  expect(() => process.kill(server.pid, 0)).toThrow()
  expect(existsSync(server.folder)).toBe(false)
  expect(sharedMemory()).toBe(before)
})

it('shows what the server said when it does not start', async () => {
  await expect(startPostgresServer({ settings: { wal_level: 'sideways' } })).rejects.toThrow(/wal_level/)
})

it('ends with its process, even when that is killed with SIGKILL', async () => {
  const before = sharedMemory()
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
  await expect.poll(sharedMemory, { timeout: 10_000 }).toBe(before)
})
