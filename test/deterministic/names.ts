/** The rows of the modelled source are called `a` and `b`; this is what the cache calls them. */
export const NAMESPACE = 'shop'
export const COLLECTION = 'rows'

const PREFIX = `${NAMESPACE}:${COLLECTION}:`

export const keyOf = (row: string): string => `${PREFIX}${row}`
export const rowOf = (key: string): string => key.slice(PREFIX.length)
export const tagOf = (row: string): string => `of-${row}`
