import { SingleBar } from 'cli-progress'
import { note } from './versus.js'

/** How far a question has come: a bar on a terminal, a line for each step elsewhere. Both on standard error. */
export interface Progress {
  /** Begins the next step. */
  step(what: string): void
  end(): void
}

/** @param steps how many there will be */
export function startProgress(steps: number): Progress {
  if (!process.stderr.isTTY) {
    let begun = 0
    return { step: (what) => note(`${++begun}/${steps} ${what}`), end: () => undefined }
  }
  const bar = new SingleBar({
    format: '{bar} {percentage} %  {duration_formatted}  {what}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    // What ends with Ctrl-C would leave it hidden.
    hideCursor: false,
    // Some questions are measured in this process.
    fps: 4,
    stream: process.stderr
  })
  bar.start(steps, 0, { what: '' })
  let begun = 0
  return {
    // What has begun is not done yet.
    step: (what) => bar.update(begun++, { what }),
    end() {
      bar.update(steps, { what: '' })
      bar.stop()
    }
  }
}
