import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { afterAll, expect, it } from 'vitest'
import { CHECKS } from '../../src/admin/doctor/doctor.js'
import type { Finding } from '../../src/admin/doctor/finding.js'
import { installShipped, PASSWORDS, startShipped } from '../deploy/shipped.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { examined } from './examined.js'

const PAGE = new URL('../../docs/operating/doctor-compared.md', import.meta.url)
const OPTIONS = { namespace: 'shop', memoryLimitBytes: 1024 ** 3 }
const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url))

const cleanups: (() => Promise<void>)[] = []
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
})

async function withConf(name: string, args: readonly string[] = []): Promise<RedisServer> {
  const server = await startRedisServer({ config: fixture(name), args })
  cleanups.push(() => server.stop())
  return server
}

async function asDebianInstallsIt(): Promise<Map<string, Finding>> {
  return examined((await withConf('debian-12.conf')).url, OPTIONS)
}

async function asShipped(): Promise<Map<string, Finding>> {
  const shipped = await installShipped()
  cleanups.push(() => shipped.remove())
  const server = await startShipped(shipped, 'redis.conf')
  cleanups.push(() => server.stop())
  return examined(`redis://127.0.0.1:${server.port}`, OPTIONS, {
    username: 'operator',
    password: PASSWORDS.operator
  })
}

async function misSet(): Promise<Map<string, Finding>> {
  const server = await withConf('mis-set.conf', ['--bind', '0.0.0.0'])
  const clients = Array.from({ length: 17 }, () => new Redis(server.url))
  const [redis] = clients as [Redis]
  await Promise.all(clients.map((client) => client.ping()))
  // What grew in it, before min-replicas-to-write refused everything.
  await redis.config('SET', 'min-replicas-to-write', '0')
  await redis.set('shop:products:1', 'x'.repeat(3 * 1024 ** 2))
  await redis.xadd('shop:#behind:orders:0', '*', 'row', '1')
  await redis.eval('local x = 0 for i = 1, 8000000 do x = x + 1 end return x', 0)
  await redis.config('SET', 'min-replicas-to-write', '2')
  const findings = await examined(`${server.url}/2`, { ...OPTIONS })
  const inZero = await examined(server.url, OPTIONS)
  for (const client of clients) client.disconnect()
  return new Map([...inZero, ['database-number', findings.get('database-number')!]])
}

/** What they say of this machine at this moment says nothing of a server's settings. */
const MEASURED = ['latency', 'clock']

/** Without what differs from run to run. */
function cell({ id, severity, what }: Finding): string {
  if (MEASURED.includes(id)) return 'as measured'
  if (severity === 'pass') return 'pass'
  const stable = what
    .replaceAll(/\d+(\.\d+)? ms\b/g, '… ms')
    .replaceAll(/\([\d.]+ MB\)/g, '(… MB)')
    .replace(/\d+ open, [\d.]+ %/, '… open, … %')
    .replaceAll('|', '\\|')
  return `**${severity}**: ${stable}`
}

it('what the doctor says of a stock Debian redis.conf, of ours and of a mis-set server is what the docs show', async () => {
  const columns = [await asDebianInstallsIt(), await asShipped(), await misSet()]
  const [debian, ours, bad] = columns as [Map<string, Finding>, Map<string, Finding>, Map<string, Finding>]
  const ids = [...new Set(columns.flatMap((column) => [...column.keys()]))]
  const rows = ids.map((id) => {
    const cells = columns.map((column) => {
      const found = column.get(id)
      return found === undefined ? '' : cell(found)
    })
    return `| [${id}](doctor.md#${id}) | ${cells.join(' | ')} |`
  })
  const countOf = (column: Map<string, Finding>, severity: string): number =>
    [...column.values()].filter((one) => one.severity === severity && !MEASURED.includes(one.id)).length
  const totals = columns.map((column) => `${countOf(column, 'fail')} fail, ${countOf(column, 'warn')} warn`)
  const page = [
    '# Three servers before the doctor',
    '',
    '<!-- Written by `WRITE_DOCS=1 npx vitest run test/doctor/compared.test.ts`, which examines the three on real servers. -->',
    '',
    'The `redis.conf` that Debian 12 installs, [ours](../../deploy/redis/redis.conf), and',
    '[one that has everything wrong](../../test/doctor/fixtures/mis-set.conf), each with 1 GB of memory to live in, examined by',
    '`corral doctor --namespace shop --memory-limit 1gb`. What each finding means and how it is mended: [the runbooks](doctor.md).',
    '',
    '| finding | Debian 12 | ours | mis-set |',
    '| --- | --- | --- | --- |',
    ...rows,
    `| | ${totals.join(' | ')} |`,
    ''
  ].join('\n')
  if (process.env['WRITE_DOCS'] === '1') await writeFile(PAGE, page)
  expect(await readFile(PAGE, 'utf8')).toBe(page)

  expect([countOf(ours, 'fail'), countOf(ours, 'warn'), countOf(ours, 'unknown')]).toEqual([0, 1, 0])
  expect(countOf(debian, 'fail')).toBe(1)
  expect(countOf(bad, 'fail')).toBe(6)
})

it('every finding has a runbook, and every runbook a finding', async () => {
  const page = await readFile(new URL('../../docs/operating/doctor.md', import.meta.url), 'utf8')
  const sections = [...page.matchAll(/^## (.*)$/gm)].map(([, id]) => id!)
  expect(sections.sort()).toEqual([...CHECKS.map(({ id }) => id), 'reachable'].sort())
})
