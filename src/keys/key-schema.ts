import { createHash } from 'node:crypto'
import { InvalidKeyError } from '../errors.js'
import type { CacheId, IdObject, IdPart, TenantId } from '../ports.js'

/*
 * The only file that joins key strings.
 *
 *   shop:products:42                          namespace : collection : id
 *   shop:tenant:acme_corp:products:9876       namespace : tenant : its id : collection : id
 *   shop:~:homepage                           what `getOrLoad` stores, in a collection without a name
 *   shop:#gen:…  shop:#tag:…                  not entries: the counters of what can be cleared as a whole
 *   shop:views:{views.3}:42                   an entry that is written behind: with its shard as one more part
 *   shop:#behind:{views.3}:stream             what belongs to a shard of a queue, in the slot of its entries
 *
 * Names → key is injective. A part never holds ':', so the number of parts tells the two forms apart and where each
 * part ends. In a part, `A-Z a-z 0-9 _ . @ / + ~ -` stand for themselves and every other character as the %XX of its
 * UTF-8 bytes, so that no id can steer a Cluster slot ({…}), a SCAN pattern (* ? [ \) or another tenant's key. What
 * is left of ASCII marks types:
 *
 *   'text'     a string that would otherwise read as something else: '42', '', 'true', '7n'
 *   42  7n     number, bigint
 *   (a,(b,7))  array        (page=2,brand=acme) → (brand=acme,page=2)   object, names sorted, undefined left out
 *   #…         the SHA-256 of a part longer than LONGEST_PART characters
 */

/** A part that is longer, escaped, is hashed: long keys cost memory and bandwidth at every command. */
export const LONGEST_PART = 200

const DEEPEST_ID = 8
const ORDINARY = /^[A-Za-z0-9_.@/+~-]+$/
const EXTRAORDINARY = /[^A-Za-z0-9_.@/+~-]/gu
const LONE_SURROGATE = /\p{Surrogate}/u
/** Texts that read as another type's id. */
const AMBIGUOUS = /^(-?\d+(\.\d+)?(e[+-]?\d+)?n?|true|false|null|)$/

/** Stands where a collection's name would; no collection can be called that. */
export const AD_HOC = '~'

/** The prefix of every entry of one collection, or of one tenant's part of it. */
export function collectionPrefix(namespace: string, collection: string, tenant?: TenantId): string {
  if (tenant === undefined) return `${namespace}:${collection}:`
  return `${namespace}:tenant:${tenantPart(tenant)}:${collection}:`
}

/** Second part of every key that is not an entry; no collection can be called that. */
const INTERNAL = '#'

/** A key of the namespace that is not an entry; `name` belongs to the part of Corral that uses it. */
export function internalKey(namespace: string, name: string): string {
  return `${namespace}:${INTERNAL}${name}`
}

/** Where those tell one another of changes whom Redis does not tell, and what stands while somebody listens. */
export function channelKeys(namespace: string): { counterKey: string; listenersKey: string } {
  return {
    counterKey: internalKey(namespace, 'changes'),
    listenersKey: internalKey(namespace, 'listeners')
  }
}

/** What an entry can be cleared with: everything of the namespace, its collection, its tenant, its tenant's collection. */
export interface Area {
  readonly namespace: string
  readonly collection?: string | undefined
  readonly tenant?: TenantId | undefined
}

/** The key of the ledger of what tenants take. */
export function usageKey(namespace: string): string {
  return `${namespace}:${INTERNAL}usage`
}

/** The key of an area's counter. */
export function generationKey({ namespace, collection, tenant }: Area): string {
  const ofTenant = tenant === undefined ? '' : `:tenant:${tenantPart(tenant)}`
  return `${namespace}:${INTERNAL}gen${ofTenant}${collection === undefined ? '' : `:${collection}`}`
}

/** The keys of the counters of all areas that an entry lies in. */
export function generationKeys(namespace: string, collection: string, tenant?: TenantId): string[] {
  const keys = [generationKey({ namespace }), generationKey({ namespace, collection })]
  if (tenant === undefined) return keys
  return [...keys, generationKey({ namespace, tenant }), generationKey({ namespace, collection, tenant })]
}

/** The key of the counter that every invalidation of a tag moves; with a part of a tag added, that tag's own. */
export function tagPrefix(namespace: string, tenant?: TenantId): string {
  return `${namespace}:${INTERNAL}tag${tenant === undefined ? '' : `:tenant:${tenantPart(tenant)}`}`
}

/** A tag as it stands in the key of its counter: `prefix:~:part`, so that no tag reads as a tenant. */
export function tagPart(tag: unknown): string {
  if (typeof tag !== 'string' || tag === '') {
    throw new InvalidKeyError('The tag', tag, 'a string that is not empty')
  }
  return bounded(encodeText(tag, 'The tag'))
}

export function tagKey(prefix: string, part: string): string {
  return `${prefix}:${AD_HOC}:${part}`
}

/** SCAN patterns that cover the entries of an area, and `isIn`, which tells them from what the patterns find beside them. */
export function entriesOf(area: Area): { patterns: readonly string[]; isIn: (key: string) => boolean } {
  const { namespace, collection, tenant } = area
  if (tenant !== undefined) {
    const prefix =
      collection === undefined
        ? `${namespace}:tenant:${tenantPart(tenant)}:`
        : collectionPrefix(namespace, collection, tenant)
    return { patterns: [`${prefix}*`], isIn: (key) => key.startsWith(prefix) }
  }
  if (collection === undefined) {
    const prefix = `${namespace}:`
    const isIn = (key: string): boolean => key.startsWith(prefix) && key[prefix.length] !== INTERNAL
    return { patterns: [`${prefix}*`], isIn }
  }
  const own = collectionPrefix(namespace, collection)
  const ofTenants = `${namespace}:tenant:`
  return {
    patterns: [`${own}*`, `${ofTenants}*:${collection}:*`],
    isIn: (key) => key.startsWith(own) || (key.startsWith(ofTenants) && key.split(':', 4)[3] === collection)
  }
}

/** Tenant, collection and id of an entry's key, each as it stands there; undefined for any other key. */
export function partsOf(
  key: string
): { readonly tenant: string | undefined; readonly collection: string; readonly id: string } | undefined {
  const parts = key.split(':').filter((part) => !part.startsWith('{'))
  if (parts.length === 3 && !parts[1]!.startsWith(INTERNAL)) {
    return { tenant: undefined, collection: parts[1]!, id: parts[2]! }
  }
  if (parts.length !== 5 || parts[1] !== 'tenant') return undefined
  return { tenant: parts[2], collection: parts[3]!, id: parts[4]! }
}

/** Where the operations of one shard of a queue are, beside its entries. */
export interface ShardKeys {
  /** Names the shard to a sink and in messages. */
  readonly name: string
  readonly stream: string
  readonly state: string
  readonly producers: string
  readonly unflushed: string
  readonly owner: string
  readonly letters: string
}

export function shardKeys(namespace: string, queue: string, shard: number): ShardKeys {
  const prefix = `${namespace}:${INTERNAL}behind:${shardTag(queue, shard)}:`
  return {
    name: `${namespace}/${queue}/${shard}`,
    stream: `${prefix}stream`,
    state: `${prefix}state`,
    producers: `${prefix}producers`,
    unflushed: `${prefix}unflushed`,
    owner: `${prefix}owner`,
    letters: `${prefix}letters`
  }
}

/** The workers of a queue, and how many shards it has. */
export function queueKeys(namespace: string, queue: string): { workers: string; shards: string } {
  const prefix = `${namespace}:${INTERNAL}behind:${queue}:`
  return { workers: `${prefix}workers`, shards: `${prefix}shards` }
}

/**
 * The key of an entry that is written behind. Its shard is told by all of its names, so that it is always the same, and is
 * part of the key, so that entry and stream lie in one slot of a Cluster. No other part ever holds a brace.
 */
export function behindKey(prefix: string, queue: string, part: string, shards: number): string {
  return `${prefix}${shardTag(queue, shardOf(prefix, part, shards))}:${part}`
}

function shardTag(queue: string, shard: number): string {
  return `{${queue}.${shard}}`
}

export function shardOf(prefix: string, part: string, shards: number): number {
  return shards === 1 ? 0 : hashOf(prefix + part) % shards
}

/** The shard of such a key, and the hash that lists what is unflushed in it; undefined for any other key. */
export function shardOfKey(key: string): { readonly index: number; readonly unflushed: string } | undefined {
  const opens = key.indexOf(':{')
  if (opens === -1) return undefined
  const closes = key.indexOf('}', opens)
  const tag = key.slice(opens + 1, closes + 1)
  const namespace = key.slice(0, key.indexOf(':'))
  return {
    index: Number(tag.slice(tag.lastIndexOf('.') + 1, -1)),
    unflushed: `${namespace}:${INTERNAL}behind:${tag}:unflushed`
  }
}

/** FNV-1a, finished as in MurmurHash3: ids that differ in the last digit alone must spread evenly. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** The last part of a key. Throws `InvalidKeyError` for what cannot be told apart for ever: NaN, dates, instances, … */
export function idPart(id: CacheId): string {
  // The two commonest first: no closure, no regular expression for a number.
  if (typeof id === 'number' && Number.isSafeInteger(id)) return id === 0 ? '0' : String(id)
  return bounded(encode(id, 'The id', 0))
}

/**
 * An id that its caller cannot change any more: a loader runs a round trip after the key was made, and what it loaded for
 * another id would be stored under this one.
 */
export function ownId<Id extends IdPart>(id: Id): Id {
  if (typeof id !== 'object' || id === null) return id
  if (Array.isArray(id)) return (id as readonly IdPart[]).map(ownId) as unknown as Id
  return Object.fromEntries(Object.entries(id).map(([name, part]) => [name, ownId(part as IdPart)])) as Id
}

export function tenantPart(tenant: TenantId): string {
  if (typeof tenant !== 'string' && typeof tenant !== 'number' && typeof tenant !== 'bigint') {
    throw new InvalidKeyError('The tenant', tenant, 'a string, a number or a bigint')
  }
  if (tenant === '') throw new InvalidKeyError('The tenant', tenant, 'a string that is not empty')
  return bounded(encode(tenant, 'The tenant', 0))
}

function bounded(part: string): string {
  if (part.length <= LONGEST_PART) return part
  return `#${createHash('sha256').update(part).digest('base64url')}`
}

function encode(id: IdPart, what: string, depth: number): string {
  switch (typeof id) {
    case 'string':
      return encodeText(id, what)
    case 'number':
      if (!Number.isFinite(id)) throw new InvalidKeyError(what, id, 'a finite number')
      return encodeNumber(id)
    case 'bigint':
      return `${id}n`
    case 'boolean':
      return String(id)
    case 'object':
      if (depth >= DEEPEST_ID) throw new InvalidKeyError(what, id, `nested at most ${DEEPEST_ID} deep`)
      if (id === null && depth > 0) return 'null'
      if (Array.isArray(id)) return encodeArray(id, what, depth)
      if (isPlain(id)) return encodeObject(id as IdObject, what, depth)
  }
  throw new InvalidKeyError(
    what,
    id,
    'a string, number, bigint, boolean, or a small plain object or array of them'
  )
}

function encodeText(text: string, what: string): string {
  if (ORDINARY.test(text)) return AMBIGUOUS.test(text) ? `'${text}'` : text
  if (text === '') return "''"
  // UTF-8 has no form for half a surrogate pair: different halves would end up as one key.
  if (LONE_SURROGATE.test(text)) throw new InvalidKeyError(what, text, 'text without lone surrogates')
  return text.replace(EXTRAORDINARY, escapeCharacter)
}

function escapeCharacter(character: string): string {
  let escaped = ''
  for (const byte of Buffer.from(character)) escaped += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return escaped
}

/** `-0` is `0`, as `===` has it; the plus of `1e+21` is an ordinary character. */
function encodeNumber(number: number): string {
  return number === 0 ? '0' : String(number)
}

function encodeArray(parts: readonly IdPart[], what: string, depth: number): string {
  // Array.from visits holes too, which encode refuses like undefined.
  return `(${Array.from(parts, (part, index) => encode(part, `${what}[${index}]`, depth + 1)).join(',')})`
}

function encodeObject(object: IdObject, what: string, depth: number): string {
  const fields: string[] = []
  for (const name of Object.keys(object).sort()) {
    const part = object[name]
    if (part === undefined) continue
    fields.push(`${encodeText(name, `${what}'s field name`)}=${encode(part, `${what}.${name}`, depth + 1)}`)
  }
  // An object without fields must not read as an array without elements.
  return fields.length === 0 ? '(=)' : `(${fields.join(',')})`
}

function isPlain(value: object | null): boolean {
  if (value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
