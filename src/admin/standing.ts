import type { ValueEntry } from '../entry.js'
import { generationKeys, tagKey, tagPrefix } from '../keys/key-schema.js'
import type { KeyParts } from '../keys/key-parts.js'
import { parseId } from '../keys/parse-id.js'
import type { TenantId } from '../ports.js'
import type { Operator } from '../redis/operator.js'
import { Cell, Scope, standingOf, type Standing } from '../tiers/generation.js'

/**
 * Whether a value has been cleared since it was loaded, by the counters of now; undefined when its tenant cannot be told
 * from its key, because that was too long to stand in it.
 */
export async function standingNow(
  operator: Operator,
  { namespace, collection, tenant: tenantPart }: KeyParts,
  value: ValueEntry
): Promise<Standing | undefined> {
  const tenant = tenantPart === undefined ? undefined : (parseId(tenantPart) as TenantId | undefined)
  if (tenantPart !== undefined && tenant === undefined) return undefined
  const cellOf = (key: string): Promise<Cell> => readCounter(operator, key)
  const prefix = tagPrefix(namespace, tenant)
  const cells = await Promise.all(generationKeys(namespace, collection, tenant).map(cellOf))
  const tagCells = await Promise.all(value.tags.map(({ tag }) => cellOf(tagKey(prefix, tag))))
  return standingOf(value, new Scope(cells, undefined, prefix), tagCells)
}

async function readCounter(operator: Operator, key: string): Promise<Cell> {
  const cell = new Cell(key)
  cell.apply((await operator.callFor(key, (name) => ['GET', name])) as string | null, 0, 0)
  return cell
}
