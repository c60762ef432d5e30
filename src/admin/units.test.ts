import { describe, expect, it } from 'vitest'
import { parseInfo, numberIn, pairsOf, rowIn } from './info.js'
import { percentilesOf } from './percentiles.js'
import { bytesText, durationText, parseBytes, plural, redisArgument, redisBytes } from './units.js'

describe('numbers', () => {
  it('are read as redis.conf writes them, and written so', () => {
    expect(['1', '1k', '1kb', '1.5gb', '2GB', ' 7m '].map(parseBytes)).toEqual([
      1,
      1_000,
      1_024,
      1.5 * 1024 ** 3,
      2 * 1024 ** 3,
      7e6
    ])
    expect(['', 'x', '1tb', '-1', '1 2'].map(parseBytes)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined
    ])
    expect([1024 ** 3, 768 * 1024 ** 2, 1024, 1000, 100_000_001].map(redisBytes)).toEqual([
      '1gb',
      '768mb',
      '1kb',
      '1000',
      '95mb'
    ])
    for (const text of ['1gb', '768mb', '1kb']) expect(redisBytes(parseBytes(text)!)).toBe(text)
  })

  it('are told with their unit', () => {
    expect([0, 999, 1_536, 5 * 1024 ** 3].map(bytesText)).toEqual(['0 B', '999 B', '1.5 kB', '5 GB'])
    expect([0.034, 20, 1_500, 90_000, 7_000_000, 1e9].map(durationText)).toEqual([
      '0.034 ms',
      '20 ms',
      '1.5 s',
      '90 s',
      '117 min',
      '12 d'
    ])
    expect([plural(1, 'entry', 'entries'), plural(1_200, 'key')]).toEqual(['1 entry', '1,200 keys'])
  })

  it('have percentiles', () => {
    expect(percentilesOf(Array.from({ length: 100 }, (_, index) => 100 - index))).toEqual({
      p50: 50,
      p95: 95,
      p99: 99,
      max: 100
    })
    expect(percentilesOf([7])).toEqual({ p50: 7, p95: 7, p99: 7, max: 7 })
  })
})

describe('a key in a line for redis-cli', () => {
  it('stands for itself, whatever is in it', () => {
    expect(redisArgument('shop:products:42')).toBe('shop:products:42')
    expect(redisArgument('shop:a b')).toBe('"shop:a b"')
    expect(redisArgument('x "1"\r\nFLUSHALL \\é')).toBe('"x \\"1\\"\\x0d\\x0aFLUSHALL \\\\\\xc3\\xa9"')
  })
})

describe('what INFO and its like answer', () => {
  it('is read by name', () => {
    const info = parseInfo('# Server\r\nredis_version:7.0.15\r\nslave0:ip=::1,port=1,lag=0\r\n\r\nodd\r\n')
    expect(info.get('redis_version')).toBe('7.0.15')
    expect(rowIn(info, 'slave0')).toEqual({ ip: '::1', port: '1', lag: '0' })
    expect([numberIn(info, 'missing'), numberIn(info, 'redis_version'), rowIn(info, 'missing')]).toEqual([
      0,
      0,
      {}
    ])
    expect([...pairsOf(['a', '1', 'b', 2])]).toEqual([
      ['a', '1'],
      ['b', '2']
    ])
    expect(pairsOf(null).size).toBe(0)
  })
})
