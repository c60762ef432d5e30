#!/usr/bin/env node
import { EXIT } from './exit.js'
import { run } from './run.js'
import { processTerminal } from './terminal.js'

/** A program's own file, which `worker` loads, may leave a pool open that would keep this process alive for ever. */
const LINGER_MS = 1_000

const terminal = processTerminal()
void run(process.argv.slice(2), terminal).then(async (code) => {
  process.exitCode = code
  // Who reads more slowly than this writes has all of it; who pressed Ctrl-C wants none of it.
  if (code !== EXIT.interrupted) await terminal.flushed()
  setTimeout(() => process.exit(code), LINGER_MS).unref()
})
