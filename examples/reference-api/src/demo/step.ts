import { Listr } from 'listr2'

export interface Progress {
  /** A line below the step while it runs. */
  readonly say: (text: string) => void
  /** Takes the place of the step's title. */
  readonly done: (title: string) => void
}

/** Some terminals, those of CI among them, do not know how wide they are: nothing can be overwritten there. */
const canOverwrite = process.stdout.isTTY && process.stdout.columns > 0
/** A file or a pipe keeps every line. */
const LINE_EVERY_MS = canOverwrite ? 100 : 5000

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
    { registerSignalListeners: false, fallbackRendererCondition: !canOverwrite }
  )
  await task.run()
  return results[0] as Result
}
