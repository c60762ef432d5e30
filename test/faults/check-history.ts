import type { Operation } from './writer-worker.js'

export interface Violation {
  readonly read: Operation
  /** A write that was over before the read began, and newer than what it saw. */
  readonly write: Operation
}

/**
 * Reads that saw less than a write that had ended before they began: what no interleaving and no crash may bring about.
 * A write that never ended constrains nothing.
 */
export function staleReads(history: readonly Operation[]): Violation[] {
  const violations: Violation[] = []
  for (const operations of byId(history).values()) {
    const writes = operations.filter(({ kind }) => kind === 'write').sort((a, b) => a.endedAt - b.endedAt)
    const reads = operations.filter(({ kind }) => kind === 'read').sort((a, b) => a.startedAt - b.startedAt)
    let next = 0
    let newest: Operation | undefined
    for (const read of reads) {
      for (; next < writes.length && writes[next]!.endedAt < read.startedAt; next++) {
        if (newest === undefined || writes[next]!.version > newest.version) newest = writes[next]
      }
      if (newest !== undefined && read.version < newest.version) violations.push({ read, write: newest })
    }
  }
  return violations
}

function byId(history: readonly Operation[]): Map<number, Operation[]> {
  const groups = new Map<number, Operation[]>()
  for (const operation of history) {
    const group = groups.get(operation.id) ?? []
    group.push(operation)
    groups.set(operation.id, group)
  }
  return groups
}
