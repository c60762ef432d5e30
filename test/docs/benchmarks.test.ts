import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { renderChart, THEMES } from '../../benchmarks/charts/render.js'
import { compare } from '../../benchmarks/reports/summary.js'
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

/** Of the filled rectangles after the ground, in order. */
function barWidths(svg: string): number[] {
  return [...svg.matchAll(/<path d="M[\d.]+ [\d.]+l([\d.]+) 0l0 [\d.]+l-[\d.]+ 0Z" fill="#\w{6}"/g)].map(
    ([, width]) => Number(width)
  )
}
