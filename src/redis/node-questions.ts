import { RedisUnavailableError } from '../errors.js'
import type { RedisClient } from './client.js'
import type { ClusterNodes } from './cluster-nodes.js'

/** Runs one command over some connection, under a deadline; `onNodeSilence` as `onSilence` of `RedisLink.call`. */
export type Call = <T>(
  action: string,
  send: (client: RedisClient) => Promise<T>,
  onNodeSilence?: () => boolean
) => Promise<T>

/** What one node of a Cluster left unanswered stands where its answer would. */
export type OrUnavailable<T> = T | RedisUnavailableError

/**
 * Asks about each key the node that has it, all nodes at once and each under a deadline of its own: one that is lost takes
 * its own keys with it and no others. Answers in the order of the keys.
 *
 * @param onSend called at each moment in which something is sent
 */
export async function askByNode<T>(
  nodes: ClusterNodes,
  keys: readonly string[],
  question: {
    readonly action: string
    readonly call: Call
    readonly ask: (client: RedisClient, key: string) => Promise<T>
    readonly onSend?: (() => void) | undefined
  }
): Promise<OrUnavailable<T>[]> {
  const { action, call, ask, onSend } = question
  const answers: OrUnavailable<T>[] = Array.from({ length: keys.length })
  const askNode = async (node: string, indexes: readonly number[]): Promise<void> => {
    const sent = nodes.watching(node, keys[indexes[0]!]!, (client) => {
      onSend?.()
      return Promise.all(indexes.map((index) => ask(client, keys[index]!)))
    })
    try {
      const own = await call(action, sent.send, sent.onSilence)
      for (const [at, index] of indexes.entries()) answers[index] = own[at]!
    } catch (error) {
      if (!(error instanceof RedisUnavailableError)) throw error
      for (const index of indexes) answers[index] = error
    }
  }
  await Promise.all([...nodes.groups(keys)].map(([node, indexes]) => askNode(node, indexes)))
  return answers
}
