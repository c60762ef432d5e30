import type { Clock } from '../clock.js'

export type LinkState = 'starting' | 'ready' | 'away' | 'closed'

export interface LinkReporter {
  /** `reason` when it is away. */
  stateChanged(state: Exclude<LinkState, 'starting'>, reason: string | undefined): void
  breakerChanged(state: 'open' | 'closed'): void
  /** A call that Redis did not answer in time or refused. The caller goes on without it. */
  callFailed(action: string, error: unknown): void
  /** The driver's own report of a broken or refused connection. */
  connectionFailed(error: unknown): void
  /** Something that only a person can mend. */
  misconfigured(code: string, message: string, advice: string | undefined): void
}

export interface LinkOptions {
  /** The deadline of one call. */
  readonly timeoutMs: number
  /** A key of the namespace that holds nothing: deleting it shows whether this server takes writes. */
  readonly probeKey: string
  readonly clock: Clock
}
