import type { Command } from 'commander'
import { openOperator, type Operator } from '../admin/connect.js'
import { resolveSettings, type ConnectionFlags, type Settings } from './config.js'
import { unlessInterrupted } from './exit.js'
import type { Terminal } from './terminal.js'

export interface CommonFlags extends ConnectionFlags {
  readonly json?: boolean
}

/** The flags of every command that speaks to Redis. */
export function withConnection(command: Command): Command {
  return command
    .option(
      '--redis <url>',
      'redis://, rediss:// or unix:// (REDIS_URL); a Cluster is found by any of its nodes'
    )
    .option('--namespace <name>', 'the first part of the keys (CORRAL_NAMESPACE)')
    .option('--key-prefix <text>', "the driver's keyPrefix, if it has one (CORRAL_KEY_PREFIX)")
    .option(
      '--username <name>',
      'the ACL user (REDIS_USERNAME); the password only by REDIS_PASSWORD or the URL'
    )
    .option('--sentinels <list>', 'host:port,host:port (REDIS_SENTINELS)')
    .option('--master-name <name>', 'what the Sentinels call the primary (REDIS_MASTER_NAME)')
    .option('--tls-ca <file>', 'the authority that signed the server (REDIS_TLS_CA)')
    .option('--tls-cert <file>', 'a client certificate (REDIS_TLS_CERT)')
    .option('--tls-key <file>', 'its key (REDIS_TLS_KEY)')
    .option(
      '--timeout <duration>',
      "the deadline of connecting and of each command, as in '5s' (CORRAL_TIMEOUT)"
    )
    .option('--config <file>', 'instead of corral.config.json (CORRAL_CONFIG)')
    .option('--json', 'for programs: one JSON document, without colour')
}

/**
 * Connects, does the work, and closes, whatever comes of it. Ctrl-C ends it at once, whatever it waits for: then the
 * connections are closed, and what it had not begun is not done.
 */
export async function withOperator<Result>(
  flags: CommonFlags,
  terminal: Terminal,
  work: (operator: Operator, settings: Settings) => Promise<Result>
): Promise<Result> {
  const settings = resolveSettings(flags, terminal)
  const { interrupted } = terminal
  const connectAndWork = async (): Promise<Result> => {
    const operator = await openOperator(settings.target)
    const close = (): void => operator.close()
    interrupted.addEventListener('abort', close, { once: true })
    try {
      interrupted.throwIfAborted()
      return await work(operator, settings)
    } finally {
      interrupted.removeEventListener('abort', close)
      close()
    }
  }
  return unlessInterrupted(interrupted, connectAndWork)
}
