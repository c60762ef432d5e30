import { describe, expect, it } from 'vitest'
import type { ServerFacts } from '../redis/server-facts.js'
import { judgeDurability } from './durability.js'

const plain: ServerFacts = {
  version: '7.0.15',
  evictionPolicy: 'noeviction',
  appendOnly: false,
  appendFsync: 'everysec',
  replicas: 0,
  refusals: { wait: undefined, waitaof: undefined }
}
const confirmation = (level: Parameters<typeof judgeDurability>[0], facts: Partial<ServerFacts>): string => {
  const verdict = judgeDurability(level, { ...plain, ...facts })
  if (!verdict.kept) return verdict.found
  const { confirmation: how } = verdict
  return how.by === 'replicas' ? `${how.count} replicas` : how.by
}

describe('what a server can keep', () => {
  it.each(['memory', 'replicated', 'fsync'] as const)(
    'is nothing when it evicts whole streams: %s',
    (level) => {
      const facts = { appendOnly: true, appendFsync: 'always', replicas: 2, evictionPolicy: 'allkeys-lfu' }
      expect(confirmation(level, facts)).toContain('maxmemory-policy is allkeys-lfu')
    }
  )

  it('is memory, whatever else it is', () => {
    expect(confirmation('memory', {})).toBe('nobody')
    expect(confirmation('memory', { evictionPolicy: 'volatile-lru' })).toBe('nobody')
    expect(confirmation('memory', { evictionPolicy: undefined })).toBe('nobody')
  })

  it('is a replica when it has one', () => {
    expect(confirmation('replicated', {})).toBe('it has no replica')
    expect(confirmation('replicated', { replicas: 1 })).toBe('1 replicas')
    expect(confirmation('replicated', { replicas: 3 })).toBe('3 replicas')
    expect(confirmation('replicated', { replicas: undefined })).toBe('it has no replica')
    expect(
      confirmation('replicated', { replicas: 1, refusals: { wait: 'NOPERM wait', waitaof: undefined } })
    ).toBe('it does not take WAIT: NOPERM wait')
  })

  it('is the disk when it syncs each write, or can be asked to', () => {
    expect(confirmation('fsync', {})).toBe('appendonly is no')
    expect(confirmation('fsync', { appendOnly: true })).toBe('appendfsync is everysec')
    expect(confirmation('fsync', { appendOnly: true, appendFsync: 'always' })).toBe('nobody')
    expect(confirmation('fsync', { appendOnly: true, version: '7.2.0' })).toBe('disk')
    expect(confirmation('fsync', { appendOnly: true, appendFsync: undefined, version: '8.0.2' })).toBe('disk')
    expect(confirmation('fsync', { appendOnly: true, appendFsync: undefined })).toBe(
      'appendfsync is not told'
    )
    expect(confirmation('fsync', { appendOnly: undefined })).toContain('does not tell')
    expect(
      confirmation('fsync', {
        appendOnly: true,
        version: '7.2.0',
        refusals: { wait: undefined, waitaof: 'NOPERM waitaof' }
      })
    ).toBe('appendfsync is everysec, and it does not take WAITAOF: NOPERM waitaof')
  })
})
