/** The rows of the modelled source are called `a` and `b`; this is what the cache calls them. */
export const NAMESPACE = 'shop'
export const COLLECTION = 'rows'
export const CHANGES_KEY = `${NAMESPACE}:#changes`
export const LISTENERS_KEY = `${NAMESPACE}:#listeners`

const PREFIX = `${NAMESPACE}:${COLLECTION}:`

export const keyOf = (row: string): string => `${PREFIX}${row}`
export const rowOf = (key: string): string => key.slice(PREFIX.length)
export const tagOf = (row: string): string => `of-${row}`
