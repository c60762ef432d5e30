import { Listr } from 'listr2'

export interface Progress {
  /** A line below the step while it runs. */
  readonly say: (text: string) => void
  /** Takes the place of the step's title. */
  readonly done: (title: string) => void
}

/** A terminal overwrites the line; a file or a pipe keeps every one of them. */
const LINE_EVERY_MS = process.stdout.isTTY ? 100 : 5000

/** Shows one piece of work while it runs: a spinner in a terminal, plain lines elsewhere. */
export async function step<Result>(
  title: string,
  work: (progress: Progress) => Promise<Result>
): Promise<Result> {
  const results: Result[] = []
  let nextLineAt = Date.now() + LINE_EVERY_MS
  const task = new Listr(
    [
      {
        title,
        task: async (_context, current) => {
          const progress: Progress = {
            say: (text) => {
              if (Date.now() < nextLineAt) return
              nextLineAt = Date.now() + LINE_EVERY_MS
              current.output = text
            },
            done: (newTitle) => {
              current.title = newTitle
            }
          }
          results.push(await work(progress))
        }
      }
    ],
    // The demo itself decides what Ctrl-C does.
    { registerSignalListeners: false }
  )
  await task.run()
  return results[0] as Result
}
