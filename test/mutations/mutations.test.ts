import { describe, expect, it } from 'vitest'
import { chosenBy } from './choice.js'
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

  it('are chosen by invariant and by words, all where none is named, and none by a slip', () => {
    const of = (invariant: 'I1' | 'W1', without: string) => ({ invariant, without, edits: [], tests: ['t'] })
    const all = [
      of('I1', 'a fill is stored'),
      of('W1', 'a writer puts no guard'),
      of('W1', 'a row is stored')
    ]
    expect(chosenBy([], all)).toEqual({ chosen: all, writes: false })
    expect(chosenBy(['W1', '--write'], all)).toEqual({ chosen: all.slice(1), writes: true })
    expect(chosenBy(['is stored'], all)).toEqual({ chosen: [all[0], all[2]], writes: false })
    // Whatever chose none would run the whole suite, and call it a success.
    expect(chosenBy(['under a gard'], all)).toMatchObject({
      problem: expect.stringContaining('"under a gard"')
    })
    expect(chosenBy(['--wirte'], all)).toEqual({ problem: 'There is no option --wirte' })
  })
})
