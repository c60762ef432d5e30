/** The pages of docs/reference that are written from the comments in src: options, events and counts, health, and every export. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSync } from 'oxc-parser'
import { apiPages } from './api-reference.js'

interface Field {
  readonly name: string
  readonly type: string
  readonly optional: boolean
  readonly text: string
}

/** The exported interfaces, unions and classes of a file, with the comments over them and over their fields. */
export interface Declarations {
  readonly interfaces: ReadonlyMap<string, { readonly fields: readonly Field[]; readonly source: string }>
  readonly unions: ReadonlyMap<string, { readonly members: readonly string[]; readonly text: string }>
}

export function declarationsOf(file: string, source: string): Declarations {
  const { program, comments } = parseSync(file, source)
  const textOf = ({ start, end }: { start: number; end: number }): string => source.slice(start, end)
  const commentBefore = (start: number): string => {
    const comment = comments.find(
      ({ end, type }) => type === 'Block' && end <= start && /^\s*$/.test(source.slice(end, start))
    )
    return comment === undefined ? '' : proseOf(comment.value)
  }
  const interfaces = new Map<string, { fields: Field[]; source: string }>()
  const unions = new Map<string, { members: string[]; text: string }>()
  for (const statement of program.body) {
    if (statement.type !== 'ExportNamedDeclaration' || !statement.declaration) continue
    const { declaration } = statement
    if (declaration.type === 'TSInterfaceDeclaration') {
      const fields = declaration.body.body.flatMap((member) => {
        if (member.type !== 'TSPropertySignature' || !member.typeAnnotation) return []
        const type = textOf(member.typeAnnotation.typeAnnotation).replaceAll(/\s+/g, ' ')
        const name = textOf(member.key)
        return [{ name, type, optional: member.optional, text: commentBefore(member.start) }]
      })
      interfaces.set(declaration.id.name, { fields, source: textOf(statement) })
    }
    if (declaration.type === 'TSTypeAliasDeclaration' && declaration.typeAnnotation.type === 'TSUnionType') {
      const members = declaration.typeAnnotation.types.map(textOf)
      unions.set(declaration.id.name, { members, text: commentBefore(statement.start) })
    }
  }
  return { interfaces, unions }
}

/** A comment as one paragraph. */
function proseOf(comment: string): string {
  return comment
    .split('\n')
    .map((line) => line.replace(/^\s*\*+ ?/, '').trim())
    .filter((line) => line !== '')
    .join(' ')
}

const GENERATED = 'Written by `npx tsx scripts/check-docs.ts --write` from the comments in'

export function eventsPage(events: Declarations, stats: string): string {
  const lines = [
    '# Events and counts',
    '',
    `<!-- ${GENERATED} src/events.ts and src/stats.ts. -->`,
    '',
    '`cache.on(name, listener)` calls the listener with every such fact from then on, and returns how to stop. Listeners run',
    'in the midst of reads, so they should be quick. One that throws is reported as `listenerFailed` and disturbs nobody. `key`',
    'is the whole Redis key, `collection` its name; what `getOrLoad` stores is in the collection `~`. Times are in milliseconds.',
    '',
    '| event | when | with |',
    '| --- | --- | --- |'
  ]
  for (const { name, type, text } of events.interfaces.get('CacheEvents')?.fields ?? []) {
    lines.push(`| \`${name}\` | ${cell(text)} | ${cell(payload(type))} |`)
  }
  lines.push('', '## The words in them', '')
  for (const [name, { members, text }] of events.unions) {
    lines.push(
      `- \`${name}\`: ${members.map((member) => `\`${member}\``).join(', ')}${text === '' ? '' : `. ${text}`}`
    )
  }
  lines.push(
    '',
    '## Counts',
    '',
    '`cache.stats()` is a snapshot of these.',
    '',
    '```typescript',
    stats,
    '```',
    ''
  )
  return lines.join('\n')
}

/** `KeyFact & { readonly ageMs: number }` → the names, with their types. */
function payload(type: string): string {
  const own = /\{(.*)\}/.exec(type)?.[1] ?? ''
  const fields = own.split(/;|\s(?=readonly \w+:)/).map((field) => field.trim().replace(/^readonly /, ''))
  const names = [
    ...(type.startsWith('KeyFact') ? ['key', 'collection'] : []),
    ...(type.startsWith('AreaFact') ? ['collection', 'tenant'] : []),
    ...(type.startsWith('ShardFact') ? ['queue', 'shard'] : []),
    ...fields.filter((field) => field !== '')
  ]
  return names.map((name) => `\`${name}\``).join(', ')
}

export function healthPage({ interfaces, unions }: Declarations): string {
  const parts = [...interfaces.values()].map(({ source }) => source)
  for (const [name, { members, text }] of unions)
    parts.push(`/** ${text} */\nexport type ${name} = ${members.join(' | ')}`)
  const lines = [
    '# Health',
    '',
    `<!-- ${GENERATED} src/health.ts. -->`,
    '',
    '`cache.health()` is a snapshot of this; it asks nothing of Redis, so it is never slow. What to do with it is in',
    '[health checks](../guides/health-checks.md).',
    '',
    '```typescript',
    parts.join('\n\n'),
    '```',
    ''
  ]
  return lines.join('\n')
}

interface OptionsSection {
  readonly title: string
  readonly text: string
  readonly fields: readonly Field[]
}

export function optionsPage(sections: readonly OptionsSection[]): string {
  const lines = [
    '# Options',
    '',
    `<!-- ${GENERATED} src/options.ts and the calls' own files. -->`,
    '',
    "A `Duration` is a number of milliseconds, or a number with its unit: `'250ms'`, `'30s'`, `'5m'`, `'1h'`, `'7d'`. An option that",
    'is unknown, of a wrong type or out of range throws [`INVALID_OPTION`](errors.md#invalid_option) at once, with a message that names',
    'it, what came and what was needed.'
  ]
  for (const { title, text, fields } of sections) {
    lines.push('', `## ${title}`, '', text, '', '| option | type | effect |', '| --- | --- | --- |')
    for (const field of fields) {
      const need = field.optional || /Required/.test(field.text) ? '' : ' **Required.**'
      lines.push(
        `| \`${field.name}\` | ${cell(`\`${readable(field.type)}\``)} | ${cell(field.text)}${need} |`
      )
    }
  }
  return `${lines.join('\n')}\n`
}

/** Without what only the compiler needs. */
function readable(type: string): string {
  return type
    .replace(/ \| undefined$/, '')
    .replace(/^\| /, '')
    .replace(/^\((\(.*)\)$/, '$1')
    .replaceAll(/NoInfer<(\w+)>/g, '$1')
    .replaceAll(/\( /g, '(')
    .replaceAll(/ \)/g, ')')
    .replace(/^T$/, "'optional' | 'required' | 'none'")
}

const cell = (text: string): string => text.replaceAll('|', '\\|')

/** Every generated page, by its path. */
export function generatedPages(root: string): ReadonlyMap<string, string> {
  const read = (file: string): Declarations =>
    declarationsOf(file, readFileSync(join(root, 'src', file), 'utf8'))
  const [options, createCache, collection, cache, adHoc, clearing, events, stats, behind, postgres, worker] =
    [
      read('options.ts'),
      read('create-cache.ts'),
      read('collection.ts'),
      read('cache.ts'),
      read('ad-hoc.ts'),
      read('invalidation/clearing.ts'),
      read('events.ts'),
      read('stats.ts'),
      read('behind-options.ts'),
      read('sinks/postgres-options.ts'),
      read('behind/worker.ts')
    ]
  const fieldsOf = (from: Declarations, name: string): readonly Field[] => {
    const found = from.interfaces.get(name)
    if (found === undefined)
      throw new Error(`src has no exported interface ${name} any more; see scripts/reference-pages.ts`)
    return found.fields
  }
  const counts = ['CollectionStats', 'BehindStats', 'CacheStats'].map(
    (name) => stats.interfaces.get(name)?.source
  )
  return new Map([
    ...apiPages(root),
    ['docs/reference/health.md', healthPage(read('health.ts'))],
    ['docs/reference/events.md', eventsPage(events, counts.join('\n\n'))],
    [
      'docs/reference/options.md',
      optionsPage([
        {
          title: 'createCache',
          text: '`createCache({ … })`',
          fields: [...fieldsOf(createCache, 'CacheOptions'), ...fieldsOf(options, 'CacheLimits')]
        },
        {
          title: 'How long entries live, and how loads behave',
          text: "For `cache.collection('name', { … })` and for `cache.getOrLoad(key, load, { … })`:",
          fields: fieldsOf(options, 'EntryOptions')
        },
        {
          title: 'collection',
          text: "`cache.collection('name', { … })`, with those above:",
          fields: fieldsOf(options, 'CollectionOptions')
        },
        {
          title: 'memory',
          text: '`memory: { … }` of `createCache`, and any of it in a collection:',
          fields: fieldsOf(options, 'MemoryOptions')
        },
        {
          title: 'tenantBudget',
          text: 'For `createCache({ tenantBudget: { … } })`.',
          fields: fieldsOf(options, 'TenantBudgetOptions')
        },
        {
          title: 'waitForReplicas',
          text: 'For `createCache({ waitForReplicas: { … } })`.',
          fields: fieldsOf(options, 'WaitForReplicas')
        },
        {
          title: 'Without a collection',
          text: '`getOrLoad` and `set` of a cache, with those that say how long entries live:',
          fields: fieldsOf(adHoc, 'TaggedOptions')
        },
        {
          title: 'Reads',
          text: '`get`, `lookup`, `getMany`, `refresh` and `getOrLoad`, in their last argument:',
          fields: fieldsOf(collection, 'ReadOptions')
        },
        {
          title: 'Invalidations',
          text: '`invalidate`, `invalidateMany`, `invalidateWhere` and `invalidateTags`, in their last argument:',
          fields: fieldsOf(collection, 'InvalidateOptions')
        },
        {
          title: 'clear',
          text: '`clear({ … })` of a collection, a tenant or a cache; `collections` not of a collection:',
          fields: [...fieldsOf(clearing, 'ClearOptions'), ...fieldsOf(clearing, 'ClearAllOptions')]
        },
        {
          title: 'cache.write',
          text: '`cache.write(refs, change, { … })`',
          fields: fieldsOf(cache, 'WriteOptions')
        },
        {
          title: 'writeBehind and cache.ingest',
          text: '`writeBehind({ … })`, and the last argument of `cache.ingest`:',
          fields: fieldsOf(behind, 'BehindOptions')
        },
        {
          title: 'limits of what waits',
          text: 'In `limits` of those:',
          fields: fieldsOf(behind, 'BehindLimits')
        },
        {
          title: 'postgresSink',
          text: '`postgresSink(pool, { … })`',
          fields: fieldsOf(postgres, 'PostgresSinkOptions')
        },
        {
          title: 'cache.worker',
          text: '`cache.worker({ … })`',
          fields: fieldsOf(worker, 'WorkerOptions')
        }
      ])
    ]
  ])
}
