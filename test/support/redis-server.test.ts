import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { freePort } from './free-port.js'
import { type RedisServer, startRedisServer } from './redis-server.js'

const servers: RedisServer[] = []

async function start(...options: Parameters<typeof startRedisServer>): Promise<RedisServer> {
  const server = await startRedisServer(...options)
  servers.push(server)
  return server
}

async function ask<T>(server: RedisServer, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(server.url, { maxRetriesPerRequest: 0, retryStrategy: null })
  redis.on('error', () => undefined)
  try {
    return await question(redis)
  } finally {
    redis.disconnect()
  }
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()))
})

describe('a private Redis server', () => {
  it('answers as soon as it is started, and leaves neither process nor folder after stop', async () => {
    const server = await start()
    expect(await ask(server, (redis) => redis.ping())).toBe('PONG')
    await server.stop()
    await server.stop()
    expect(() => process.kill(server.pid, 0)).toThrow()
    expect(existsSync(server.folder)).toBe(false)
  })

  it('takes more arguments', async () => {
    const server = await start({ args: ['--maxmemory', '3mb'] })
    expect(await ask(server, (redis) => redis.config('GET', 'maxmemory'))).toContain('3145728')
  })

  it('comes back on its port after a kill, without its data', async () => {
    const server = await start()
    const { port, pid } = server
    await ask(server, (redis) => redis.set('a', '1'))
    await server.kill()
    expect(server.running).toBe(false)
    await expect(ask(server, (redis) => redis.ping())).rejects.toThrow()
    await server.restart()
    expect(server.port).toBe(port)
    expect(server.pid).not.toBe(pid)
    expect(await ask(server, (redis) => redis.get('a'))).toBeNull()
  })

  it('keeps its data over a restart when it appends to a file', async () => {
    const server = await start({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    await ask(server, (redis) => redis.set('a', '1'))
    await server.kill('SIGKILL')
    await server.restart()
    expect(await ask(server, (redis) => redis.get('a'))).toBe('1')
  })

  it('is silent while paused, answers after resume, and can be stopped while paused', async () => {
    const server = await start()
    server.pause()
    const answer = ask(server, (redis) => redis.ping())
    expect(await Promise.race([answer, sleep(200, 'silent')])).toBe('silent')
    server.resume()
    expect(await answer).toBe('PONG')
    server.pause()
    await server.stop()
    expect(server.running).toBe(false)
  })

  it('says so when a fixed port is taken', async () => {
    const port = await freePort()
    const other = createServer((socket) => socket.destroy())
    await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve))
    await expect(startRedisServer({ port })).rejects.toThrow(`Port ${port} is taken`)
    await new Promise((resolve) => other.close(resolve))
  })

  it('says how to get it when the program is missing', async () => {
    await expect(startRedisServer({ program: 'no-such-redis' })).rejects.toThrow(
      'no-such-redis is not in PATH'
    )
  })

  it('gets ports of their own when many start at once', async () => {
    const many = await Promise.all(Array.from({ length: 8 }, () => start()))
    expect(new Set(many.map((server) => server.port)).size).toBe(8)
  })

  it('ends with its process, even when that is killed with SIGKILL', async () => {
    const script = `
      import { startRedisServer } from ${JSON.stringify(new URL('./redis-server.ts', import.meta.url).href)}
      const server = await startRedisServer()
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
    await expect.poll(() => isAlive(pid), { timeout: 5000 }).toBe(false)
    await expect.poll(() => existsSync(folder), { timeout: 5000 }).toBe(false)
  })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
