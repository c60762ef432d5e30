/** What the examples take for granted: a database, and a way to wait. */
export interface Product {
  readonly id: number
  readonly name: string
  readonly price: number
}

/** Stands for the reader's own database. It knows the products 1 to 99, in shops whose prices differ. */
class Database {
  queries = 0
  /** Set to make every query fail. */
  down = false
  readonly #prices = new Map<number, number>()

  async findProduct(
    id: number,
    options?: { readonly signal?: AbortSignal; readonly shop?: string | number | bigint | undefined }
  ): Promise<Product | undefined> {
    return (await this.findProducts([id], options)).get(id)
  }

  /** One query, whatever the number of ids. */
  async findProducts(
    ids: readonly number[],
    options?: { readonly signal?: AbortSignal; readonly shop?: string | number | bigint | undefined }
  ): Promise<Map<number, Product>> {
    this.queries++
    // What a database answers is decided when the query runs, not when its reply is read.
    const mark = options?.shop === undefined ? '' : ` at ${options.shop}`
    const found = ids.filter((id) => Number.isInteger(id) && id >= 1 && id < 100)
    const rows = found.map((id): [number, Product] => {
      return [id, { id, name: `Product ${id}${mark}`, price: this.#prices.get(id) ?? id * 10 }]
    })
    await globalThis.sleep(5)
    if (this.down) throw Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' })
    return new Map(rows)
  }

  async setPrice(id: number, price: number): Promise<void> {
    this.#prices.set(id, price)
  }
}

declare global {
  var db: Database
  var sleep: (ms: number) => Promise<void>
}

globalThis.db = new Database()
globalThis.sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
