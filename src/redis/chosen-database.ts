import type { OpenedClient, RedisClient } from './client.js'

/** The database that the entries are in, where the driver is one that somebody else may send elsewhere. */
export class ChosenDatabase {
  readonly #opened: OpenedClient
  #chosen: number | undefined

  constructor(opened: OpenedClient) {
    this.#opened = opened
  }

  /** A driver that is refused its database goes on in the first one, where another cache's entries may have the same names. */
  async select(client: RedisClient): Promise<void> {
    const { ownDatabase } = this.#opened
    if (ownDatabase !== 0) await client.call('SELECT', ownDatabase)
    else await this.#assertThere(client)
  }

  /** One of the user's is told nothing, but asked; where that is refused, or not known, it is believed. */
  async #assertThere(client: RedisClient): Promise<void> {
    const believed = this.#opened.database()
    if (believed === undefined || believed === 0) return
    const info = await client.call('CLIENT', 'INFO').catch(nothingIfRefused)
    const database = / db=(\d+)/.exec(String(info))?.[1]
    if (database === undefined || Number(database) === believed) return
    throw new Error(`OTHERDB the driver is in database ${database}, and was made for ${believed}`)
  }

  /** Throws when the driver is in another one than it was at first. */
  assert(): void {
    const database = this.#opened.database()
    if (database === undefined) return
    this.#chosen ??= database
    const elsewhere = this.elsewhere(database)
    if (elsewhere !== undefined) throw elsewhere
  }

  /** What is wrong with `database`, when it is not the one. */
  elsewhere(database: number): Error | undefined {
    if (this.#chosen === undefined || database === this.#chosen) return undefined
    return new Error(`OTHERDB the driver is in database ${database}, and the entries are in ${this.#chosen}`)
  }
}

function nothingIfRefused(error: unknown): undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') throw error
}
