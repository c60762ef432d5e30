/** The small interfaces a user implements. */

/** A value, or a promise of it. */
export type Awaitable<T> = T | Promise<T>

/** What an entry is called by. Objects and arrays are small and plain, such as `{ brand: 'acme', page: 2 }` or `['de', 7]`. */
export type CacheId = string | number | bigint | boolean | readonly IdPart[] | IdObject

/**
 * What an id that is an object or an array may hold. Dates, `NaN` and instances of classes are refused with
 * `InvalidKeyError`.
 */
export type IdPart = string | number | bigint | boolean | null | readonly IdPart[] | IdObject

/** An id with names. Their order does not matter, and what is `undefined` is left out. Its own type is a `type`: an `interface` does not fit here. */
export interface IdObject {
  readonly [name: string]: IdPart | undefined
}

/** What a tenant is called by. `'7'` and `7` are two tenants; an empty text is none. */
export type TenantId = string | number | bigint

/** What a loader is told beside the id. */
export interface LoadContext {
  /** Fires when the load is over its deadline or the cache closes: hand it to the query. */
  readonly signal: AbortSignal
  /** The tenant of the call, as given to `tenant()`; undefined without one. */
  readonly tenant: TenantId | undefined
}

/**
 * The part of Standard Schema v1 that Corral calls; zod, valibot, arktype and others implement it.
 * @see https://standardschema.dev
 */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => Awaitable<StandardResult<Output>>
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}

/** What a schema answers: the value, or what is wrong with it. */
export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] }
