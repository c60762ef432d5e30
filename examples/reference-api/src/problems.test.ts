import { expect, it } from 'vitest'
import { LoadFailedElsewhereError, OverloadedError, RedisUnavailableError, WriteTimeoutError } from 'corral'
import { describeProblem, Problem } from './problems.js'
import { OutdatedOfferError, UnknownProductError } from './store/movie-store.js'

it.each([
  [new Problem(400, 'Say which products.'), 400, 'Say which products.', undefined],
  [new UnknownProductError(7), 404, 'There is no product 7.', undefined],
  [new OutdatedOfferError(7, 3), 409, 'Product 7 is not at version 3 any more: read it again.', undefined],
  [new OverloadedError(100, 10_000), 503, 'The service is busy; try again in a moment.', '1'],
  [new RedisUnavailableError('guard an entry'), 503, 'The service is busy; try again in a moment.', '1'],
  [new WriteTimeoutError(30_000), 503, 'The change took too long and may have been made or not', undefined],
  [
    new LoadFailedElsewhereError('key', { name: 'Error', message: 'secret' }),
    502,
    'The database did',
    undefined
  ],
  [new Error('password=secret'), 500, 'Something went wrong on our side.', undefined]
])('answers %s with %d', (error, status, message, retryAfter) => {
  const answer = describeProblem(error)
  expect(answer.status).toBe(status)
  expect(answer.body.error).toContain(message)
  expect(answer.headers['Retry-After']).toBe(retryAfter)
})
