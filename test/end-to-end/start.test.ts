import { afterEach, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.js'
import { canListProcesses, type Program, startProgram } from './program.js'

let program: Program | undefined

afterEach(async () => {
  await program?.cleanUp()
  program = undefined
})

describe.skipIf(!canListProcesses)('npm start -w reference-api', () => {
  it('serves on PORT, and on SIGTERM answers what is under way before it ends and leaves nothing behind', async () => {
    const port = await freePort()
    program = await startProgram(['start'], { PORT: String(port) })
    await program.printed(`Listening on http://127.0.0.1:${port}`)

    const answer = fetch(`http://127.0.0.1:${port}/api/homepage`)
    // Long enough for the request to arrive, short enough for the query to be under way.
    await new Promise((resolve) => setTimeout(resolve, 50))
    program.child.kill('SIGTERM')

    expect(await (await answer).json()).toMatchObject({ source: 'database' })
    expect(await program.ended).toBe(0)
    expect(await program.leftovers(15_000)).toEqual([])
  })

  it('says in a line that PORT is no port, and leaves nothing behind', async () => {
    program = await startProgram(['start'], { PORT: 'http' })
    expect(await program.ended).toBe(1)
    expect(program.output().trimEnd().split('\n').at(-1)).toBe(
      'PORT must be a whole number from 0 to 65535, 0 for a free one; this is "http".'
    )
    expect(await program.leftovers(15_000)).toEqual([])
  })

  it('leaves nothing behind after kill -9 of the script that started it, also while it is starting', async () => {
    program = await startProgram(['start'], { PORT: '0' })
    await program.printed('Loading the catalogue')
    program.child.kill('SIGKILL')
    await program.ended
    expect(await program.leftovers(15_000)).toEqual([])
  })
})
