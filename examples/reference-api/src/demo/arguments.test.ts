import { expect, it } from 'vitest'
import { parseArguments } from './arguments.js'

it('has a default for everything', () => {
  expect(parseArguments([])).toEqual({ once: false, processes: 4, requests: 5000, patienceMs: 10_000 })
})

it('takes every option', () => {
  expect(parseArguments(['--once', '--processes', '2', '--requests=100', '--patience', '3'])).toEqual({
    once: true,
    processes: 2,
    requests: 100,
    patienceMs: 3000
  })
  expect(parseArguments(['--help', '--once'])).toBe('help')
})

it.each([
  [['--processes', '0'], '--processes must be a whole number from 1 to 32; this is "0".'],
  [['--requests', '1e9'], '--requests must be a whole number from 1 to 20000; this is "1e9".'],
  [['--patience', ''], '--patience must be a whole number'],
  [['--twice'], "Unknown option '--twice'"],
  [['once'], 'once']
])('says what is wrong with %j', (args, message) => {
  expect(() => parseArguments(args)).toThrow(message)
})
