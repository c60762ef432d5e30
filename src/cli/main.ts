#!/usr/bin/env node
import { run } from './run.js'
import { processTerminal } from './terminal.js'

/** A program's own file, which `worker` loads, may leave a pool open that would keep this process alive for ever. */
const LINGER_MS = 1_000

void run(process.argv.slice(2), processTerminal()).then((code) => {
  process.exitCode = code
  setTimeout(() => process.exit(code), LINGER_MS).unref()
})
