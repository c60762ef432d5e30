import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { renderChart, THEMES } from '../../benchmarks/charts/render.js'
import { parseCommand } from '../../benchmarks/command.js'
import { compare } from '../../benchmarks/reports/summary.js'
import { parseOptions, Refusal } from '../../benchmarks/support/options.js'
import { generatedFiles, strayPictures } from '../../benchmarks/write-docs.js'

const contentOf = (path: string): string | undefined => {
  const file = fileURLToPath(new URL(`../../${path}`, import.meta.url))
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}

describe('what is shown of the benchmarks', () => {
  const generated = generatedFiles()

  it('is what the results generate, to the byte: page, pictures and the table in the README', () => {
    const different = [...generated].filter(([path, text]) => contentOf(path) !== text)
    expect(
      different.map(([path]) => path),
      'npx tsx benchmarks/write-docs.ts writes them'
    ).toEqual([])
    expect([...generated.keys()]).toContain('README.md')
    expect([...generated.keys()].filter((path) => path.endsWith('.svg')).length).toBeGreaterThan(0)
  })

  it('has no picture that no result makes', () => {
    expect(strayPictures(generated)).toEqual([])
    const [picture] = [...generated.keys()].filter((path) => path.endsWith('.svg'))
    expect(strayPictures(new Map([...generated].filter(([path]) => path !== picture)))).toEqual([picture])
  })

  it('comes out the same a second time', () => {
    expect(generatedFiles()).toEqual(generated)
  })
})

describe('the comparison', () => {
  const ms = (figure: number): string => `${figure.toFixed(1)} ms`
  const figures = (ours: number, ...others: number[]) => [
    { name: 'Corral', figure: ours },
    { name: 'Corral, another way', figure: -1_000 },
    ...others.map((figure, index) => ({ name: `peer${index}`, figure }))
  ]

  it('shows whoever is ahead, the best of the others, and how many are as good', () => {
    expect(compare('wait', figures(2, 5, 1, 1), 'less', ms)).toEqual([
      { asked: 'wait', ours: '2.0 ms', best: '1.0 ms (peer1 and 1 more)', ahead: 'peer1' }
    ])
    expect(compare('hits', figures(2, 5, 1, 1), 'more', String)).toMatchObject([{ ahead: 'peer0' }])
    expect(compare('wait', figures(0.5, 5, 1), 'less', ms)).toMatchObject([{ ahead: '**Corral**' }])
  })

  it('calls level what reads the same, and says nothing where there is nobody to compare with', () => {
    expect(compare('wait', figures(1.01, 1), 'less', ms)).toMatchObject([{ ahead: 'level' }])
    expect(compare('wait', figures(1), 'less', ms)).toEqual([])
    expect(compare('wait', figures(1, 2).slice(1), 'less', ms)).toEqual([])
  })
})

describe('a picture', () => {
  const chart = {
    name: 'one',
    title: 'Waits of <two> & more',
    axis: 'milliseconds',
    isLogarithmic: true,
    rows: [
      { label: 'Corral', bars: [{ isOurs: true, value: 0.3, min: 0.3, max: 0.3, text: '0.3 ms' }] },
      { label: 'another', bars: [{ isOurs: false, value: 300, min: 200, max: 400, text: '300 ms' }] }
    ]
  }

  it('names what it shows, its axis and its figures, with bars that are longer for more', () => {
    for (const theme of THEMES) {
      const svg = renderChart(chart, theme)
      for (const text of [
        'Corral',
        'another',
        'milliseconds',
        '0.3 ms',
        '300 ms',
        'aria-label="Waits of &lt;two> &amp; more"'
      ])
        expect(svg).toContain(text)
      expect(svg).not.toContain('NaN')
      const [ours, other] = barWidths(svg)
      expect(ours).toBeGreaterThan(0)
      expect(other).toBeGreaterThan(ours!)
    }
  })

  it('sets Corral apart in both themes, on grounds of their own', () => {
    const colours = THEMES.map((theme) =>
      [...renderChart(chart, theme).matchAll(/fill="(#\w{6})"/g)].map(([, one]) => one!)
    )
    for (const used of colours) expect(new Set(used).size).toBeGreaterThanOrEqual(4)
    expect(colours[0]![0]).not.toBe(colours[1]![0])
  })
})

describe('the command line of the benchmarks', () => {
  const known = ['stampede', 'http', 'clear']
  const ask = (questions: readonly string[], ...options: string[]) => ({ do: 'ask', questions, options })

  it('asks what is named, or everything, with what is for all or for the one', () => {
    expect(parseCommand([], known)).toEqual(ask(known))
    expect(parseCommand(['--quick'], known)).toEqual(ask(known, '--quick'))
    expect(parseCommand(['http', 'clear', 'http'], known)).toEqual(ask(['http', 'clear']))
    expect(parseCommand(['--quick', 'http'], known)).toEqual(ask(['http'], '--quick'))
    expect(parseCommand(['http', '--only', 'Keyv', '--quick'], known)).toEqual(
      ask(['http'], '--only', 'Keyv', '--quick')
    )
    expect(parseCommand(['--help'], known)).toEqual({ do: 'explain' })
    expect(parseCommand(['http', '--help'], known)).toEqual(ask(['http'], '--help'))
  })

  it('asks nothing when something is misspelt, since a whole question takes long and replaces what is kept', () => {
    for (const args of [['stampeed'], ['--quik'], ['--only', 'Keyv'], ['http', 'clear', '--only', 'Keyv']])
      expect(parseCommand(args, known)).toMatchObject({ do: 'refuse' })
    const choices = { only: ['Corral', 'Keyv'], against: undefined }
    expect(parseOptions([], choices)).toEqual({
      quick: false,
      chosen: { only: [], against: [] },
      isPartial: false
    })
    expect(parseOptions(['--only', 'Keyv', '--only', 'Corral', '--against', '/x'], choices)).toEqual({
      quick: false,
      chosen: { only: ['Keyv', 'Corral'], against: ['/x'] },
      isPartial: true
    })
    expect(parseOptions(['--quick'], choices)).toMatchObject({ quick: true, isPartial: true })
    for (const args of [['--quik'], ['--only', 'keyv'], ['--only'], ['Keyv'], ['--only', '--quick']])
      expect(() => parseOptions(args, choices), args.join(' ')).toThrow(Refusal)
  })

  // Every contender is loaded before.
  it('ends with 2 and says what there is', { timeout: 120_000 }, () => {
    const main = fileURLToPath(new URL('../../benchmarks/main.ts', import.meta.url))
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', main, 'stampede', '--only', 'coral'],
      { encoding: 'utf8' }
    )
    expect(stderr).toContain('--only cannot be "coral"')
    expect(stderr).toContain('"bentocache"')
    expect(status).toBe(2)
  })
})

/** Of the filled rectangles after the ground, in order. */
function barWidths(svg: string): number[] {
  return [...svg.matchAll(/<path d="M[\d.]+ [\d.]+l([\d.]+) 0l0 [\d.]+l-[\d.]+ 0Z" fill="#\w{6}"/g)].map(
    ([, width]) => Number(width)
  )
}
