import { Argument, type Command } from 'commander'
import { completionScript, SHELLS, type Shell } from '../completion.js'
import type { Terminal } from '../terminal.js'

export function addCompletion(program: Command, terminal: Terminal): void {
  program
    .command('completion')
    .description('a script that completes commands and flags: source <(corral completion bash)')
    .addArgument(new Argument('<shell>', 'whose script').choices([...SHELLS]))
    .action((shell: Shell) => {
      terminal.out(completionScript(shell, program))
    })
}
