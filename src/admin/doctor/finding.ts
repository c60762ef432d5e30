/** How bad it is. `unknown`: the server would not let us look, which is no verdict in either direction. */
export type Severity = 'pass' | 'warn' | 'fail' | 'unknown'

/** A line that mends what was found, and where it belongs. */
export interface Fix {
  /** `redis.conf` (or a service's parameter group), a command for `redis-cli`, a shell, the kernel, or the program's code. */
  readonly in: 'redis.conf' | 'redis-cli' | 'shell' | 'code' | 'deployment'
  readonly line: string
}

export interface Finding {
  /** Stable; the runbooks in docs/operating/doctor.md are named by it. */
  readonly id: string
  readonly title: string
  readonly severity: Severity
  /** What was seen, with its numbers. */
  readonly what: string
  /** What it would hurt, and how. '' when all is well. */
  readonly why: string
  readonly fix: readonly Fix[]
}

export type Verdict = Omit<Finding, 'id' | 'title'>

export const pass = (what: string): Verdict => ({ severity: 'pass', what, why: '', fix: [] })

export const warn = (what: string, why: string, ...fix: readonly Fix[]): Verdict => {
  return { severity: 'warn', what, why, fix }
}

export const fail = (what: string, why: string, ...fix: readonly Fix[]): Verdict => {
  return { severity: 'fail', what, why, fix }
}

/** A line of redis.conf, which is a setting and its value. */
export const conf = (line: string): Fix => ({ in: 'redis.conf', line })
export const command = (line: string): Fix => ({ in: 'redis-cli', line })
export const shell = (line: string): Fix => ({ in: 'shell', line })
export const code = (line: string): Fix => ({ in: 'code', line })
export const deployment = (line: string): Fix => ({ in: 'deployment', line })
