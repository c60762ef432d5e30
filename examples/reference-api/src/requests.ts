import { createHash, timingSafeEqual } from 'node:crypto'
import { Problem } from './problems.js'
import type { Offer } from './store/movie-store.js'

/** A request as plain data; the handlers know nothing of Express. */
export interface ApiRequest {
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, unknown>>
  readonly header: (name: string) => string | undefined
  /** Parsed JSON; undefined when none was sent. */
  readonly body: unknown
  /** Fires when the client leaves before it has its answer. */
  readonly signal: AbortSignal
}

/** The largest `integer` of PostgreSQL. */
const MAX_INTEGER = 2_147_483_647
const MAX_ID = MAX_INTEGER
const MAX_IDS = 100
const MAX_REFERRER = 500
const TENANT = /^[a-z][a-z0-9_-]{0,39}$/

export function productIdOf({ params }: ApiRequest): number {
  return parseId(params['id'] ?? '', 'The product id')
}

/** `?ids=1,2,3`; an id that is asked for twice counts once. */
export function productIdsOf({ query }: ApiRequest): number[] {
  const text = query['ids']
  if (typeof text !== 'string' || text === '') {
    throw new Problem(400, 'Say which products: ?ids=1,2,3 (once, and with at least one id).')
  }
  const ids = new Set(text.split(',').map((part) => parseId(part, 'Each of "ids"')))
  if (ids.size > MAX_IDS)
    throw new Problem(400, `"ids" may name at most ${MAX_IDS} products; these are ${ids.size}.`)
  return [...ids]
}

const MAX_PAGE = 10_000
const GENRE = /^[\p{L}\p{N} /&-]{1,40}$/u

/** The genre of the path, or of `?genre=`. */
export function genreOf(text: unknown): string {
  if (typeof text === 'string' && GENRE.test(text)) return text
  throw new Problem(400, 'A genre is 1 to 40 letters, digits, spaces, "/", "&" or "-".')
}

/** `?page=2`; the first when left out. */
export function pageOf({ query }: ApiRequest): number {
  const text = query['page']
  if (text === undefined) return 1
  const page = typeof text === 'string' && /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : Number.NaN
  if (!(page <= MAX_PAGE)) throw new Problem(400, `"page" must be a whole number from 1 to ${MAX_PAGE}.`)
  return page
}

/** Throws unless the request carries `Authorization: Bearer` and the token; without a token nobody may. */
export function assertAdmin({ header }: ApiRequest, token: string | undefined): void {
  const given = /^Bearer (.+)$/.exec(header('authorization') ?? '')?.[1]
  if (given === undefined)
    throw new Problem(401, 'Send "Authorization: Bearer …" with the token of an administrator.')
  // Digests, so that neither the time it takes nor the length tells anything.
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  if (token === undefined || !timingSafeEqual(digest(given), digest(token))) {
    throw new Problem(403, 'This token is not that of an administrator.')
  }
}

/** The `X-Tenant` header; undefined is the main shop. */
export function tenantOf({ header }: ApiRequest): string | undefined {
  const tenant = header('x-tenant')
  if (tenant === undefined) return undefined
  if (!TENANT.test(tenant)) {
    throw new Problem(
      400,
      'X-Tenant must be 1 to 40 lower-case letters, digits, "_" or "-", and begin with a letter.'
    )
  }
  return tenant
}

/** `{ "priceCents": 999, "stock": 5 }`, with `"version"` when it must not overwrite another one's change. */
export function offerOf({ body }: ApiRequest): Offer {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new Problem(400, 'Send a JSON object with "priceCents" and "stock".')
  }
  const { priceCents, stock, version, ...others } = body as Record<string, unknown>
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) {
    throw new Problem(400, `"${unknown.slice(0, 40)}" is not "priceCents", "stock" or "version".`)
  }
  return {
    priceCents: wholeNumber(priceCents, '"priceCents"', 1),
    stock: wholeNumber(stock, '"stock"', 0),
    version: version === undefined ? undefined : wholeNumber(version, '"version"', 1)
  }
}

/** `{ "referrer": "https://…" }`, or nothing at all. */
export function referrerOf({ body }: ApiRequest): string | undefined {
  if (body === undefined) return undefined
  const { referrer, ...others } = (body ?? {}) as Record<string, unknown>
  const isReferrer =
    referrer === undefined ||
    // PostgreSQL has no NUL in a text: the view would be accepted, and put aside later.
    (typeof referrer === 'string' && referrer.length <= MAX_REFERRER && !referrer.includes('\0'))
  if (typeof body === 'object' && !Array.isArray(body) && Object.keys(others).length === 0 && isReferrer) {
    return referrer as string | undefined
  }
  throw new Problem(
    400,
    `Send nothing, or a JSON object with "referrer", a text of at most ${MAX_REFERRER} characters without NUL.`
  )
}

function wholeNumber(value: unknown, what: string, least: number): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= MAX_INTEGER) {
    return value as number
  }
  throw new Problem(400, `${what} must be a whole number from ${least} to ${MAX_INTEGER}.`)
}

/** Digits only: what `Number()` takes as well, such as "0x1f", " 7" or "1e3", would give one product several names. */
function parseId(text: string, what: string): number {
  const id = /^[1-9][0-9]{0,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(id <= MAX_ID)) throw new Problem(400, `${what} must be a whole number from 1 to ${MAX_ID}.`)
  return id
}
