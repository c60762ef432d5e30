/** So many drops of different keys are told apart; what was asked before the oldest of them counts as spoilt. */
const MOST_KEYS = 4_096

/**
 * Which keys were dropped lately, so that an answer that was asked for before its key was dropped is not kept.
 *
 *   1. This process asks for an entry; Redis answers with it, and the answer is on the wire.
 *   2. The entry changes, and the news of it, on another connection, arrives first: there is nothing to drop yet.
 *   3. The answer arrives. Kept now, it would stay: Redis tells of the next change only to who has asked since.
 *
 * So whoever asks notes where the log stands, and who keeps asks whether its key was dropped after that. Bounded:
 * where the log does not reach back far enough the answer is "perhaps", and nothing is kept.
 */
export class DropLog {
  /** By key, in the order of their last drop. */
  readonly #droppedAt = new Map<string, number>()
  #position = 0
  /** What was asked before this may have been dropped without a trace. */
  #floor = 0

  get position(): number {
    return this.#position
  }

  note(key: string): void {
    this.#droppedAt.delete(key)
    this.#droppedAt.set(key, ++this.#position)
    if (this.#droppedAt.size <= MOST_KEYS) return
    for (const [oldest, position] of this.#droppedAt) {
      this.#droppedAt.delete(oldest)
      this.#floor = position
      return
    }
  }

  noteAll(): void {
    this.#droppedAt.clear()
    this.#floor = ++this.#position
  }

  /** Whether what was asked for when the log stood at `position` is still what Redis has, as far as is known here. */
  standsSince(position: number, key: string): boolean {
    return position >= this.#floor && (this.#droppedAt.get(key) ?? 0) <= position
  }
}
