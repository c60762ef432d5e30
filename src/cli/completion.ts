import type { Command } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

interface CommandWords {
  readonly name: string
  readonly description: string
  readonly flags: readonly { readonly name: string; readonly description: string }[]
  /** Words that its argument may be. */
  readonly choices: readonly string[]
}

/** Made of the commands that there are, so it cannot fall behind them. */
export function completionScript(shell: Shell, program: Command): string {
  const commands = program.commands.map(wordsOf)
  return { bash, zsh, fish }[shell](program.name(), commands)
}

function wordsOf(command: Command): CommandWords {
  return {
    name: command.name(),
    description: command.description(),
    flags: command.options.flatMap(({ long, description }) =>
      long === undefined || long === null ? [] : [{ name: long, description }]
    ),
    choices: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? [])
  }
}

function bash(name: string, commands: readonly CommandWords[]): string {
  const cases = commands.map(
    ({ name: command, flags, choices }) =>
      `    ${command}) words='${[...flags.map((flag) => flag.name), ...choices].join(' ')}' ;;`
  )
  return [
    `_${name}() {`,
    '  local words',
    '  case "${COMP_WORDS[1]}" in',
    ...cases,
    `    *) words='${commands.map((command) => command.name).join(' ')} --help --version' ;;`,
    '  esac',
    `  [ "$COMP_CWORD" -eq 1 ] && words='${commands.map((command) => command.name).join(' ')} --help --version'`,
    '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
    '}',
    `complete -o default -F _${name} ${name}`,
    ''
  ].join('\n')
}

function zsh(name: string, commands: readonly CommandWords[]): string {
  const quoted = (text: string): string => text.replaceAll("'", "'\\''")
  const escaped = (text: string): string => quoted(text).replaceAll(/[[\]:]/g, '\\$&')
  const cases = commands.flatMap(({ name: command, flags, choices }) => [
    `    ${command})`,
    `      _arguments ${[
      ...flags.map((flag) => `'${flag.name}[${escaped(flag.description)}]'`),
      choices.length === 0 ? "'*:argument:_files'" : `'1:argument:(${choices.join(' ')})'`
    ].join(' ')}`,
    '      ;;'
  ])
  return [
    `#compdef ${name}`,
    `_${name}() {`,
    '  local -a commands',
    '  commands=(',
    ...commands.map(({ name: command, description }) => `    '${command}:${escaped(description)}'`),
    '  )',
    '  if (( CURRENT == 2 )); then',
    "    _describe 'command' commands",
    '    return',
    '  fi',
    '  local command=$words[2]',
    '  shift words',
    '  (( CURRENT-- ))',
    '  case $command in',
    ...cases,
    '  esac',
    '}',
    `compdef _${name} ${name}`,
    ''
  ].join('\n')
}

function fish(name: string, commands: readonly CommandWords[]): string {
  const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
  return [
    `complete -c ${name} -f`,
    ...commands.map(
      ({ name: command, description }) =>
        `complete -c ${name} -n __fish_use_subcommand -a ${command} -d ${quoted(description)}`
    ),
    ...commands.flatMap(({ name: command, flags, choices }) => {
      const inside = `complete -c ${name} -n '__fish_seen_subcommand_from ${command}'`
      return [
        ...flags.map((flag) => `${inside} -l ${flag.name.slice(2)} -d ${quoted(flag.description)}`),
        ...(choices.length === 0 ? [] : [`${inside} -a ${quoted(choices.join(' '))}`])
      ]
    }),
    ''
  ].join('\n')
}
