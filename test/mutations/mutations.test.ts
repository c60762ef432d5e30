import { describe, expect, it } from 'vitest'
import { edited, sourceOf } from './mutant.js'
import { MUTATIONS } from './mutations.js'
import { mutationsIn } from './table.js'

describe('the mutations', () => {
  it('each find in the sources what they take away', async () => {
    for (const { edits } of MUTATIONS) {
      for (const edit of edits) expect(edited(await sourceOf(edit.file), edit)).not.toBe('')
    }
  })

  it('have all been tried, as docs/reliability.md tells', async () => {
    const told = mutationsIn(await sourceOf('docs/reliability.md'))
    expect(told).toEqual(MUTATIONS.map(({ without }) => without))
  })
})
