/** The pages of docs/reference/api: what the package exports, in groups that a reader would look for. */
import { publicFace, type Item } from './public-face.js'

interface Group {
  /** The page's name, without its ending. */
  readonly page: string
  readonly title: string
  readonly text: string
  readonly entry: keyof typeof ENTRIES
  readonly names: readonly string[]
}

const ENTRIES = { corral: 'src/index.ts', 'corral/testing': 'src/testing/index.ts' } as const

const GROUPS: readonly Group[] = [
  {
    page: 'cache',
    title: 'The cache',
    text: 'What `createCache` takes and gives. Its options with their defaults are in [options](../options.md).',
    entry: 'corral',
    names: [
      'createCache',
      'CacheOptions',
      'CacheLimits',
      'MemoryOptions',
      'TenantBudgetOptions',
      'WaitForReplicas',
      'RedisInput',
      'Cache',
      'CacheControl',
      'AdHocReads',
      'GetOrLoadOptions',
      'TaggedOptions',
      'TenantCache',
      'Usage',
      'TagRef'
    ]
  },
  {
    page: 'collections',
    title: 'Collections',
    text: 'What `cache.collection` takes and gives. Its options with their defaults are in [options](../options.md#collection).',
    entry: 'corral',
    names: [
      'Collection',
      'CollectionReads',
      'CollectionWrites',
      'CollectionTenants',
      'CollectionOptions',
      'EntryOptions',
      'Tenancy',
      'ReadOptions',
      'Lookup',
      'EntryRef'
    ]
  },
  {
    page: 'ids-and-values',
    title: 'Ids, values and loaders',
    text: 'The small types that the others are made of.',
    entry: 'corral',
    names: [
      'CacheId',
      'IdPart',
      'IdObject',
      'TenantId',
      'Duration',
      'Awaitable',
      'LoadContext',
      'StandardSchema',
      'StandardResult'
    ]
  },
  {
    page: 'writing-through',
    title: 'Writing through, and invalidating',
    text: 'See [writing through](../../guides/write-through.md) and [invalidating](../../guides/invalidation.md).',
    entry: 'corral',
    names: [
      'writeThrough',
      'WriteThrough',
      'WriteFunction',
      'Written',
      'WriteOptions',
      'WriteTransaction',
      'InvalidateOptions',
      'InvalidationOutcome',
      'ClearOptions',
      'ClearAllOptions',
      'Cleaning',
      'CleaningReport'
    ]
  },
  {
    page: 'writing-behind',
    title: 'Writing behind',
    text: 'See [writing behind](../../guides/write-behind.md).',
    entry: 'corral',
    names: [
      'writeBehind',
      'WriteBehind',
      'BehindOptions',
      'BehindLimits',
      'Durability',
      'WhenFull',
      'Ingest',
      'IngestAppends',
      'IngestTenants',
      'Worker',
      'WorkerOptions',
      'DeadLetters',
      'DeadLetter',
      'postgresSink',
      'PostgresSinkOptions',
      'PostgresSink',
      'PgPool',
      'PgClient',
      'PgQuery',
      'PgResult',
      'Sink',
      'SinkBatch',
      'SinkOperation',
      'Claim',
      'Mark'
    ]
  },
  {
    page: 'events-and-health',
    title: 'Events, counts and health',
    text: 'The same as tables is in [events and counts](../events.md) and [health](../health.md).',
    entry: 'corral',
    names: [
      'CacheEvents',
      'EventName',
      'Listener',
      'KeyFact',
      'AreaFact',
      'ShardFact',
      'LoadReason',
      'RejectionReason',
      'StaleReason',
      'WaitOutcome',
      'WriteOutcome',
      'CacheStats',
      'CollectionStats',
      'BehindStats',
      'CacheHealth',
      'RedisHealth',
      'RedisErrorClass',
      'SeenError',
      'WakeUpHealth',
      'MemoryHealth'
    ]
  },
  {
    page: 'errors',
    title: 'Errors',
    text: 'What each means and how to solve it is in [errors](../errors.md). Corral makes them; their constructors are no part of what it promises.',
    entry: 'corral',
    names: [
      'CorralError',
      'CorralErrorCode',
      'FailureReport',
      'InvalidOptionError',
      'UnknownOptionError',
      'InvalidKeyError',
      'TenantRequiredError',
      'TenantlessError',
      'UncacheableValueError',
      'ValueTooLargeError',
      'CorruptEntryError',
      'LoadTimeoutError',
      'LoadFailedElsewhereError',
      'RecursiveLoadError',
      'InvalidLoaderResultError',
      'OverloadedError',
      'RedisUnavailableError',
      'NotWritableError',
      'WriteTimeoutError',
      'WritesFailedError',
      'WriteUnknownError',
      'BacklogFullError',
      'DurabilityUnmetError',
      'ShardsDifferError',
      'SinkNotReadyError',
      'SinkRefusesError',
      'UnflushedError',
      'NotFlushedError',
      'ClosedError'
    ]
  },
  {
    page: 'testing',
    title: 'corral/testing',
    text: 'For tests of a [sink of your own](../../guides/write-behind.md). It needs no test runner in particular.',
    entry: 'corral/testing',
    names: ['sinkContract', 'SinkUnderTest', 'ContractCase']
  }
]

const HEAD =
  '<!-- Written by `npx tsx scripts/check-docs.ts --write` from the sources and the comments in them. -->'

/** Every page of the reference, by its path from `root`. */
export function apiPages(root: string): Map<string, string> {
  const faces = Object.fromEntries(
    Object.entries(ENTRIES).map(([name, entry]) => [name, publicFace(root, entry)])
  ) as Record<keyof typeof ENTRIES, Map<string, Item>>
  const pageOf = new Map<string, string>()
  for (const { page, names } of GROUPS) for (const name of names) pageOf.set(name, page)
  for (const face of Object.values(faces))
    for (const name of face.keys())
      if (!pageOf.has(name))
        throw new Error(`${name} is exported and in no group of scripts/api-reference.ts`)

  for (const face of Object.values(faces))
    for (const { name, file, text } of face.values())
      if (text === '') throw new Error(`${file}: ${name} is exported and has no comment that says what it is`)

  const pages = new Map<string, string>()
  const all = new Map(Object.values(faces).flatMap((face) => [...face]))
  const linkTo = (name: string, from: string): string | undefined => {
    const item = all.get(name)
    if (item === undefined) return undefined
    const page = pageOf.get(name)!
    return `${page === from ? '' : `${page}.md`}#${item.kind}-${name.toLowerCase()}`
  }
  for (const group of GROUPS) {
    const items = group.names.map((name) => {
      const item = faces[group.entry].get(name)
      if (item === undefined) throw new Error(`scripts/api-reference.ts names ${name}, which is not exported`)
      return item
    })
    pages.set(`docs/reference/api/${group.page}.md`, groupPage(group, items, linkTo))
  }
  pages.set('docs/reference/api/README.md', indexPage(all))
  return pages
}

type LinkTo = (name: string, from: string) => string | undefined

function groupPage(group: Group, items: readonly Item[], linkTo: LinkTo): string {
  const { title, text, entry, page } = group
  const importing = `\`import { … } from '${entry}'\``
  const parts = [
    `# ${title}`,
    HEAD,
    `${text} ${importing}, or \`import type\` for all but functions and classes.`
  ]
  for (const item of items) parts.push(...itemParts(item, page, linkTo))
  return `${parts.join('\n\n')}\n`
}

function itemParts(item: Item, page: string, linkTo: LinkTo): string[] {
  const { kind, name, text, signature, members } = item
  const parts = [`## ${kind} ${name}`]
  if (text !== '') parts.push(text)
  const isListed = kind === 'interface' || kind === 'class'
  if (!isListed || /[<]| extends | implements /.test(signature))
    parts.push(`\`\`\`typescript\n${signature}\n\`\`\``)
  if (members.length > 0) parts.push(members.map((member) => memberLine(member)).join('\n'))
  const mentioned = new Set([signature, ...members.map((member) => member.signature)].join(' ').match(/\w+/g))
  const links = [...mentioned].flatMap((word) => {
    const link = word === name ? undefined : linkTo(word, page)
    return link === undefined ? [] : [`[${word}](${link})`]
  })
  if (links.length > 0) parts.push(`Types in it: ${links.join(', ')}.`)
  return parts
}

function memberLine({ signature, text }: { readonly signature: string; readonly text: string }): string {
  const head = `- ${codeSpan(signature)}`
  return text === '' ? head : `${head}\n  ${text.replaceAll(/\n(?=.)/g, '\n  ')}`
}

function codeSpan(code: string): string {
  return code.includes('`') ? `\`\` ${code} \`\`` : `\`${code}\``
}

function indexPage(all: ReadonlyMap<string, Item>): string {
  const parts = [
    '# What the package exports',
    HEAD,
    'Every name, with its signature and what the sources say of it. For what to do with them see the [guides](../../README.md).'
  ]
  for (const { title, page, names } of GROUPS) {
    const rows = names.map((name) => {
      const { kind, text } = all.get(name)!
      return `| [\`${name}\`](${page}.md#${kind}-${name.toLowerCase()}) | ${kind} | ${firstSentence(text)} |`
    })
    parts.push(`## ${title}`, ['| | | |', '| --- | --- | --- |', ...rows].join('\n'))
  }
  return `${parts.join('\n\n')}\n`
}

function firstSentence(text: string): string {
  const paragraph = text.split('\n\n', 1)[0]!.replaceAll('|', '\\|')
  return /^.*?\.(?= |$)/.exec(paragraph)?.[0] ?? paragraph
}
