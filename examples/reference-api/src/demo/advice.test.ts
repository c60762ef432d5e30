import { tmpdir } from 'node:os'
import { expect, it } from 'vitest'
import { adviceFor } from './advice.js'

it('says what to do about a full disk, whoever met it, and nothing about what is no fault of the machine', () => {
  const said = [
    new Error(
      'initdb failed with code 1:\nFATAL: could not write to file "base/4/1249": No space left on device'
    ),
    Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  ].map(adviceFor)
  for (const advice of said) expect(advice).toContain(`${tmpdir()}, is full`)
  expect(adviceFor(new Error('column "space" does not exist'))).toBeUndefined()
})
