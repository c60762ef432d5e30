/** The small interfaces a user implements. */

export type Awaitable<T> = T | Promise<T>

/** What an entry is called by. Objects and arrays are small and plain, such as `{ brand: 'acme', page: 2 }` or `['de', 7]`. */
export type CacheId = string | number | bigint | boolean | readonly IdPart[] | IdObject

export type IdPart = string | number | bigint | boolean | null | readonly IdPart[] | IdObject

export interface IdObject {
  readonly [name: string]: IdPart | undefined
}

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

export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] }
