import type { Lookup } from '../tiers/request.js'

/** What a flight brought home, and for whom. */
export interface Landing {
  /** A copy for one caller; undefined when the flight found nothing to say. */
  readonly give: (() => Lookup | Promise<Lookup>) | undefined
  /** Callers whose ticket is below this may have it; later ones came after something that it may not know of. */
  readonly validBelow: number
}

export const NOTHING: Landing = { give: undefined, validBelow: 0 }

/**
 * A load of one key that callers in this process share.
 *
 * Sharing has a limit. A caller who comes after an invalidation returned must not get a value whose load began before
 * it, and this process may not have heard of the invalidation. So each caller draws a ticket, `mark` is called before
 * every step that may settle the outcome, and unless the store has confirmed that nothing came between, only callers
 * with a ticket from before the mark get the result. The others read again.
 */
export class Flight {
  readonly key: string
  /** Readers come here instead of asking the store: nothing usable is cached. False for a refresh behind a usable value. */
  blocking: boolean
  /** The loader is running: who joins now did not ask before it began. */
  loading = false
  readonly forced: boolean
  readonly done: Promise<Landing>
  #tickets = 0
  #marked = 0
  #land!: (landing: Promise<Landing>) => void

  constructor(key: string, kind: { blocking: boolean; forced: boolean }) {
    this.key = key
    this.blocking = kind.blocking
    this.forced = kind.forced
    this.done = new Promise((resolve) => {
      this.#land = resolve
    })
    // Callers get the rejection through `join`; a refresh that nobody joined has reported it as an event.
    this.done.catch(reported)
  }

  /** Where callers stood when the last step began. */
  get marked(): number {
    return this.#marked
  }

  mark(): void {
    this.#marked = this.#tickets
  }

  land(landing: Promise<Landing>): void {
    this.#land(landing)
  }

  /** The caller's share, or undefined when it has to read again. */
  // Not an async function: thousands may wait here at once, and what each one holds meanwhile is copied by the collector.
  join(): Promise<Lookup | undefined> {
    const ticket = this.#tickets++
    return this.done.then(({ give, validBelow }) => (ticket < validBelow ? give?.() : undefined))
  }
}

function reported(): void {}
