import { setTimeout as sleep } from 'node:timers/promises'
import { connectClient } from '../store/database.js'

export interface StatementCount {
  readonly finished: number
  readonly running: number
}

/** Counts the home page's queries where they arrive: PostgreSQL's own statistics, so no variant can hide one. */
export interface StatementCounter {
  reset(): Promise<void>
  count(): Promise<StatementCount>
  /** Waits until none is running. */
  idle(): Promise<void>
  close(): Promise<void>
}

/** A name that stands in this query alone; literals are replaced by parameters in the statistics, names are not. */
const MARK = '%revenue_by_month%'
const POLL_MS = 50

export async function createStatementCounter(url: string): Promise<StatementCounter> {
  const client = await connectClient({ connectionString: url, application_name: 'demo' })
  await client.query('create extension if not exists pg_stat_statements')

  const askNumber = async (sql: string): Promise<number> => {
    const { rows } = await client.query<{ number: string }>(sql, [MARK])
    return Number(rows[0]?.number)
  }
  const running = (): Promise<number> =>
    askNumber(
      "select count(*) as number from pg_stat_activity where application_name <> 'demo' and state = 'active' and query like $1"
    )

  return {
    reset: async () => {
      await client.query('select pg_stat_statements_reset()')
    },
    count: async () => {
      const finished = await askNumber(
        'select coalesce(sum(calls), 0) as number from pg_stat_statements where query like $1'
      )
      return { finished, running: await running() }
    },
    idle: async () => {
      while ((await running()) > 0) await sleep(POLL_MS)
    },
    close: () => client.end()
  }
}
