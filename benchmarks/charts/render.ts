import { CustomChart } from 'echarts/charts'
import { GridComponent, TitleComponent } from 'echarts/components'
import { init, use } from 'echarts/core'
import { SVGRenderer } from 'echarts/renderers'
import type { Chart, ChartBar } from './chart.js'

use([CustomChart, GridComponent, TitleComponent, SVGRenderer])

export type Theme = 'light' | 'dark'

export const THEMES: readonly Theme[] = ['light', 'dark']

/** Contrast to the background is at least 4.5 for text and 3 for bars; ours and the others' differ in lightness, not in hue alone. */
const COLOURS = {
  light: {
    ground: '#ffffff',
    text: '#1f2328',
    faint: '#d8dee4',
    ours: '#b3470f',
    others: '#8796a8'
  },
  dark: {
    ground: '#0d1117',
    text: '#e6edf3',
    faint: '#30363d',
    ours: '#ff9d5c',
    others: '#5f7087'
  }
} as const

const FONT = 'system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'
const WIDTH = 860
const ROW_HEIGHT = 26
const TOP = 52
const BOTTOM = 56
/** Of a letter of the labels and figures; there is no browser here that could tell. */
const LETTER_WIDTH = 6.9

/** An SVG that is the same for the same chart, on every machine. */
export function renderChart(chart: Chart, theme: Theme): string {
  const bars = Math.max(...chart.rows.map((row) => row.bars.length))
  const height = TOP + BOTTOM + chart.rows.length * (ROW_HEIGHT + (bars - 1) * 14)
  const instance = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height })
  instance.setOption(optionOf(chart, theme, bars))
  const svg = instance.renderToSVGString()
  instance.dispose()
  return `${withName(withoutInteraction(svg), chart)}\n`
}

function optionOf(chart: Chart, theme: Theme, barsOfRow: number): Record<string, unknown> {
  const { ground, text, faint } = COLOURS[theme]
  const left = roomFor(chart.rows.map(({ label }) => label))
  // The longest bar may end where the axis does.
  const right = roomFor(chart.rows.flatMap((row) => row.bars.map((bar) => bar.text)))
  return {
    animation: false,
    backgroundColor: ground,
    textStyle: { fontFamily: FONT, color: text },
    title: {
      text: chart.title,
      left: 12,
      top: 12,
      textStyle: { color: text, fontSize: 16, fontWeight: 600, fontFamily: FONT }
    },
    grid: { left, right, top: TOP, bottom: BOTTOM },
    xAxis: {
      type: chart.isLogarithmic ? 'log' : 'value',
      min: leastOf(chart),
      name: chart.axis,
      nameLocation: 'middle',
      nameGap: 32,
      nameTextStyle: { color: text, fontSize: 12 },
      axisLabel: { color: text, fontSize: 12, formatter: withThousands },
      splitLine: { lineStyle: { color: faint } }
    },
    yAxis: {
      type: 'category',
      inverse: true,
      data: chart.rows.map(({ label }) => label),
      axisLabel: { color: text, fontSize: 13 },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: faint } }
    },
    series: Array.from({ length: barsOfRow }, (_, index) => seriesOf(chart, theme, index, barsOfRow))
  }
}

/**
 * One bar of each row, with a line from the lowest to the highest of the rounds and the figure at the end. Drawn by hand:
 * the bars of ECharts begin at 1 where the axis is logarithmic, wherever that is.
 */
function seriesOf(chart: Chart, theme: Theme, index: number, barsOfRow: number): object {
  return {
    type: 'custom',
    silent: true,
    data: chart.rows.map(({ bars }, row) => [bars[index]?.max ?? 0, row]),
    encode: { x: 0, y: 1 },
    renderItem(_params: unknown, { value, coord, size }: Drawing) {
      const row = value(1)
      const bar = chart.rows[row]!.bars[index]
      if (bar === undefined) return undefined
      const xOf = (figure: number): number => coord([figure, row])[0]
      const pitch = size([0, 1])[1] / barsOfRow
      const middle = coord([0, row])[1] + (index - (barsOfRow - 1) / 2) * pitch * 0.82
      return { type: 'group', children: barWithText(bar, theme, xOf, leastOf(chart), middle, pitch * 0.62) }
    }
  }
}

/** What ECharts hands to whoever draws: figures of a datum, and where on the picture a figure is. */
interface Drawing {
  readonly value: (at: number) => number
  readonly coord: (at: readonly [number, number]) => readonly [number, number]
  readonly size: (at: readonly [number, number]) => readonly [number, number]
}

function barWithText(
  { value, min, max, text, isOurs }: ChartBar,
  theme: Theme,
  xOf: (figure: number) => number,
  least: number,
  y: number,
  height: number
): object[] {
  const colours = COLOURS[theme]
  const line = (x1: number, y1: number, x2: number, y2: number): object => ({
    type: 'line',
    shape: { x1, y1, x2, y2 },
    style: { stroke: colours.text, lineWidth: 1 }
  })
  const [begin, from, to] = [xOf(least), xOf(min), xOf(max)]
  const spread = [line(from, y, to, y), line(from, y - 3, from, y + 3), line(to, y - 3, to, y + 3)]
  return [
    {
      type: 'rect',
      shape: { x: begin, y: y - height / 2, width: xOf(value) - begin, height },
      style: { fill: isOurs ? colours.ours : colours.others }
    },
    ...(max > min ? spread : []),
    {
      type: 'text',
      x: to + 7,
      y,
      style: {
        text,
        fill: colours.text,
        fontSize: 12,
        fontFamily: FONT,
        fontWeight: isOurs ? 600 : 400,
        verticalAlign: 'middle'
      }
    }
  ]
}

function roomFor(texts: readonly string[]): number {
  return 24 + LETTER_WIDTH * Math.max(...texts.map((text) => text.length))
}

/** Where the axis begins. */
function leastOf({ rows, isLogarithmic }: Chart): number {
  if (!isLogarithmic) return 0
  const least = Math.min(...rows.flatMap(({ bars }) => bars.map(({ min }) => min)))
  return 10 ** Math.floor(Math.log10(least) - 0.05)
}

function withThousands(figure: number): string {
  return figure >= 1_000 ? figure.toLocaleString('en') : String(figure)
}

/**
 * What ECharts adds for a page in which the mouse is followed: nothing that is seen here, and with the names of its
 * classes it counts the pictures that it has drawn, so that the same chart drawn second would differ.
 */
function withoutInteraction(svg: string): string {
  return svg
    .replaceAll(/ (?:class="zr[\w-]*"|ecmeta_\w+="[^"]*")/g, '')
    .replace(/<style[\s\S]*<\/style>\n?/, '')
}

/** What a screen reader says, and what is shown when the picture has not come. */
function withName(svg: string, { title }: Chart): string {
  return svg.replace(/<svg /, `<svg role="img" aria-label="${escaped(title)}" `)
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;')
}
