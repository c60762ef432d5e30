import type { Sink } from '../../src/index.js'

/** Takes whatever there is; where no worker runs. */
export const NOBODYS: Sink = {
  name: 'nobody',
  kinds: ['put', 'increment', 'delete', 'append'],
  check: async () => undefined,
  take: async () => ({ epoch: 1, marks: new Map() }),
  apply: async () => 'applied',
  isPoison: () => false
}
