/** How a cache is now, for a health check, a log line or a dashboard. */
export interface CacheHealth {
  /**
   * `ok`: all as configured. `degraded`: it works, at a cost that `problems` names. `away`: Redis cannot be used, reads go
   * to the source. `closed`: after `close()`.
   */
  readonly status: 'ok' | 'degraded' | 'away' | 'closed'
  /** What is not as it should be, a sentence each, with what to do where somebody has to. */
  readonly problems: readonly string[]
  readonly redis: RedisHealth
  readonly wakeUps: WakeUpHealth
  readonly memory: MemoryHealth
  /** Changes of the source that Redis could not be told of yet. */
  readonly pendingInvalidations: number
  /** Loads running and waiting for their turn now. */
  readonly loads: { readonly running: number; readonly queued: number }
}

/** Whether Redis can be used, and what went wrong lately. */
export interface RedisHealth {
  /** `none`: the cache was made without Redis. */
  readonly state: 'none' | 'starting' | 'ready' | 'away' | 'closed'
  /** Since when it is in this state. */
  readonly since: Date
  /** `open`: calls are refused at once, and probes are sent until Redis answers; `half-open`: one is under way. */
  readonly breaker: 'closed' | 'open' | 'half-open'
  /** Why it is away. */
  readonly reason: string | undefined
  /** The latest error of each class, since the start. */
  readonly errors: Readonly<Partial<Record<RedisErrorClass, SeenError>>>
}

/**
 * `down`: nothing can be had there now. `elsewhere`: the server is not the one to talk to any more. `misconfigured`:
 * somebody has to change something. `refused`: one call, for what it asked.
 */
export type RedisErrorClass = 'down' | 'elsewhere' | 'misconfigured' | 'refused'

/** An error of Redis or of the connection, as often as it came. */
export interface SeenError {
  /** The first word of Redis' reply, such as `OOM`, the system's error code, or `TIMEOUT` and `DISCONNECTED`. */
  readonly code: string
  readonly message: string
  readonly count: number
  readonly at: Date
}

/** `push`: Redis tells waiters of changes. `timer`: they look every few dozen milliseconds. */
export interface WakeUpHealth {
  readonly mode: 'push' | 'timer'
  readonly reason: string | undefined
}

/** What is kept in memory in front of Redis, and what keeps it true. */
export interface MemoryHealth {
  /**
   * `off`: not asked for. `tracking`: kept true by Redis' client tracking. `channel`: by an invalidation channel, because
   * tracking is not to be had. `paused`: neither works at present, so nothing is served from memory. `only`: the cache has
   * no Redis, and memory is all there is.
   */
  readonly mode: 'off' | 'tracking' | 'channel' | 'paused' | 'only'
  readonly reason: string | undefined
  /** Values that are kept. */
  readonly entries: number
  /** What they take, by a count of what they take on the heap. */
  readonly bytes: number
  /** What they may take. */
  readonly maxBytes: number
}
