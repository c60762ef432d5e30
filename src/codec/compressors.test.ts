import { randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { compress, decompress } from './compressors.js'

it('gives back what it compressed', async () => {
  const text = Buffer.from('the same words again and again, '.repeat(1000))
  const compressed = await compress(text)
  expect(compressed!.length).toBeLessThan(text.length / 10)
  expect(await decompress(compressed!, text.length)).toEqual(text)
  expect(await decompress(compressed!, Infinity)).toEqual(text)
})

it('does not bother where less than a tenth would be saved', async () => {
  expect(await compress(randomBytes(10_000))).toBeUndefined()
})

it('stops a small payload from inflating without bound', async () => {
  const bomb = deflateRawSync(Buffer.alloc(64 * 1024 * 1024))
  expect(bomb.length).toBeLessThan(100_000)
  await expect(decompress(bomb, 1024 * 1024)).rejects.toThrow()
})
