import { inspect as nodeInspect } from 'node:util'
import type { Command } from 'commander'
import { inspectKey, type KeyStory } from '../../admin/inspect.js'
import { bytesText, durationText } from '../../admin/units.js'
import { fullKey } from '../keys.js'
import { facts, json, painter, printable, type Paint } from '../print.js'
import { withConnection, withOperator, type CommonFlags } from '../session.js'
import type { Terminal } from '../terminal.js'

interface Flags extends CommonFlags {
  readonly showValue?: boolean
}

export function addInspect(program: Command, terminal: Terminal): void {
  withConnection(program.command('inspect'))
    .description('the story of one key: state, age, who holds it, size')
    .argument('<key>', 'as corral keys shows it; without its namespace if --namespace is given')
    .option('--show-value', 'print the value, which may be somebody’s data')
    .action((key: string, flags: Flags) => inspect(key, flags, terminal))
}

async function inspect(key: string, flags: Flags, terminal: Terminal): Promise<void> {
  const story = await withOperator(flags, terminal, (operator, settings) =>
    inspectKey(operator, fullKey(key, settings), flags.showValue)
  )
  if (flags.json === true) terminal.out(json(story))
  else terminal.out(storyText(story, painter(terminal)))
}

export function storyText(story: KeyStory, paint: Paint): string {
  const { parts, value, holders } = story
  const rows: [string, string][] = [
    ['key', paint('bold', printable(story.key))],
    ['state', story.detail === '' ? story.state : `${story.state}: ${printable(story.detail)}`]
  ]
  if (parts !== undefined) {
    rows.push(['collection', printable(parts.collection)], ['id', printable(parts.id)])
    if (parts.tenant !== undefined) rows.push(['tenant', printable(parts.tenant)])
  }
  rows.push(['node', story.node])
  if (story.state !== 'absent') {
    rows.push([
      'expires',
      story.expiresInMs === undefined ? paint('yellow', 'never') : `in ${durationText(story.expiresInMs)}`
    ])
    const memory = story.memoryBytes === undefined ? '' : `, ${bytesText(story.memoryBytes)} of Redis’ memory`
    rows.push(['size', `${bytesText(story.bytes)}${memory}`])
  }
  for (const { purpose, token, endsInMs } of holders) {
    const until =
      endsInMs === undefined ? '' : endsInMs > 0 ? `, for ${durationText(endsInMs)} more` : ', which is over'
    rows.push(['holder', `${token} (${purpose}${until})`])
  }
  if (value !== undefined) {
    const fresh =
      value.freshForMs > 0
        ? `fresh for ${durationText(value.freshForMs)}`
        : `stale since ${durationText(-value.freshForMs)}`
    rows.push(['age', `${durationText(value.ageMs)}, ${fresh}`], ['load took', durationText(value.loadMs)])
    if (value.tags.length > 0) rows.push(['tags', value.tags.join(', ')])
    rows.push(['value', valueText(value)])
  }
  return facts(rows, paint)
}

function valueText(value: NonNullable<KeyStory['value']>): string {
  if (value.notFound) return 'remembered as not found'
  if (!('shown' in value))
    return `${bytesText(value.payloadBytes)}, digest ${value.digest}; --show-value prints it`
  return nodeInspect(value.shown, { depth: 8, breakLength: 100 })
}
