import { BY_HAND, BY_HAND_NODE_REDIS, FALLING_BACK, LOCK_AND_POLL, REVIVING } from './by-hand.js'
import { CORRAL, type Definition } from './contender.js'
import { corralAt, THE_CORRAL, WITH_VERSION, WITHOUT_RECENT, WITHOUT_SPREAD } from './corral.js'
import { PEERS } from './peers.js'

export { FALLING_BACK, LOCK_AND_POLL, REVIVING } from './by-hand.js'
export {
  BASELINE,
  CORRAL,
  type Contender,
  type Definition,
  type ManyRows,
  type Setting
} from './contender.js'
export { corralAt, WITH_VERSION, WITHOUT_RECENT, WITHOUT_SPREAD } from './corral.js'

export const CONTENDERS: readonly Definition[] = [BY_HAND, THE_CORRAL, ...PEERS, BY_HAND_NODE_REDIS]

/** Those that take part in some questions. */
const VARIANTS: readonly Definition[] = [
  REVIVING,
  WITHOUT_RECENT,
  WITH_VERSION,
  WITHOUT_SPREAD,
  LOCK_AND_POLL,
  FALLING_BACK
]

export function definitionOf(name: string): Definition {
  const known = [...CONTENDERS, ...VARIANTS].find((definition) => definition.name === name)
  if (known !== undefined) return known
  const folder = new RegExp(`^${CORRAL} at (.+)$`).exec(name)?.[1]
  if (folder !== undefined) return corralAt(folder)
  throw new Error(`There is no contender "${name}"`)
}
