/** What a picture shows, before anything is drawn. */
export interface Chart {
  /** Of the two pictures, before `-light.svg` and `-dark.svg`; lower case, as the question it belongs to. */
  readonly name: string
  readonly title: string
  /** What the bars' length is, with its unit, and which way is better. */
  readonly axis: string
  /** For figures that differ by more than one order of magnitude; none of them may be 0. */
  readonly isLogarithmic: boolean
  /** From the top down. */
  readonly rows: readonly ChartRow[]
}

export interface ChartRow {
  readonly label: string
  readonly bars: readonly ChartBar[]
}

export interface ChartBar {
  /** Corral's own are set apart by their colour. */
  readonly isOurs: boolean
  readonly value: number
  /** The spread over the rounds. */
  readonly min: number
  readonly max: number
  /** Stands at the end of the bar. */
  readonly text: string
}
