/**
 * How objects with one key list are built. The rows of a query share their keys, and building them from a literal
 * compiled for those keys is several times faster than assigning key by key.
 */
import { MAX_COMPILED_KEYS } from './value-format.js'

/** Hands out the values of an object in the order of its keys. */
export interface ValueSource {
  read(): unknown
}

type ObjectBuilder = (source: ValueSource) => object
type Builders = [plain: ObjectBuilder, frozen: ObjectBuilder]

/** A key list read this often gets its own compiled builder; compiling costs as much as building about 30 objects. */
const USES_BEFORE_COMPILING = 16

export class ObjectShape {
  readonly #keys: readonly string[]
  readonly #nullPrototype: boolean
  #uses = 0
  #compiled: ObjectBuilder | undefined
  #compiledFrozen: ObjectBuilder | undefined

  /** @throws when `keysJson` is not a JSON array of distinct strings */
  constructor(keysJson: string, nullPrototype: boolean) {
    this.#keys = parseKeys(keysJson)
    this.#nullPrototype = nullPrototype
  }

  build(source: ValueSource): object {
    return this.#compiled === undefined ? this.#buildSlowly(source, false) : this.#compiled(source)
  }

  buildFrozen(source: ValueSource): object {
    return this.#compiledFrozen === undefined ? this.#buildSlowly(source, true) : this.#compiledFrozen(source)
  }

  #buildSlowly(source: ValueSource, frozen: boolean): object {
    if (++this.#uses === USES_BEFORE_COMPILING) this.#compile()
    const object = this.#nullPrototype ? Object.create(null) : {}
    for (const key of this.#keys) {
      if (key === '__proto__') defineOwn(object, key, source.read())
      else object[key] = source.read()
    }
    return frozen ? Object.freeze(object) : object
  }

  #compile(): void {
    if (this.#keys.length > MAX_COMPILED_KEYS) return
    try {
      const build =
        this.#nullPrototype || this.#keys.some((key) => key in Object.prototype)
          ? literalBuilder(this.#keys, this.#nullPrototype)
          : constructorBuilder(this.#keys)
      ;[this.#compiled, this.#compiledFrozen] = build
    } catch {
      // A process started with --disallow-code-generation-from-strings builds key by key.
    }
  }
}

function parseKeys(keysJson: string): readonly string[] {
  const keys: unknown = JSON.parse(keysJson)
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'string'))
    throw new TypeError('keys are not strings')
  if (new Set(keys).size !== keys.length) throw new TypeError('a key occurs twice')
  return keys
}

function defineOwn(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
}

/**
 * Keys come from Redis and may be hostile. JSON.stringify turns each into a JavaScript string literal, which no
 * content can leave; the brackets make `__proto__` an ordinary property.
 */
function objectLiteral(keys: readonly string[], nullPrototype: boolean): string {
  const properties = keys.map((key) => {
    const name = JSON.stringify(key)
    return `${key === '__proto__' ? `[${name}]` : name}:source.read()`
  })
  if (nullPrototype) properties.unshift('__proto__:null')
  return `{${properties.join(',')}}`
}

function literalBuilder(keys: readonly string[], nullPrototype: boolean): Builders {
  const literal = objectLiteral(keys, nullPrototype)
  return compile(`return [(source) => ${literal}, (source) => freeze(${literal})]`)
}

/**
 * A constructor and not a literal: V8 notes for each literal in the code how long its objects live, and once many
 * values were alive together it makes all later ones in the old generation, where a short-lived value costs three
 * times as much to collect. An assignment sets the own property because nothing on the prototype has its name.
 */
function constructorBuilder(keys: readonly string[]): Builders {
  const assignments = keys.map((key) => `this[${JSON.stringify(key)}] = source.read()`)
  return compile(
    `function Row(source) { ${assignments.join(';')} }
     Row.prototype = Object.prototype
     return [(source) => new Row(source), (source) => freeze(new Row(source))]`
  )
}

function compile(body: string): Builders {
  // oxlint-disable-next-line typescript/no-implied-eval -- the code is made of JSON string literals alone
  return new Function('freeze', body)(Object.freeze) as Builders
}

/** A key list longer than this is read so rarely, and takes so much memory, that it is not remembered. */
const MAX_REMEMBERED_KEYS_BYTES = 8192
const GENERATION_SIZE = 512
const LATEST = 64

interface Latest {
  readonly keys: Uint8Array
  readonly nullPrototype: boolean
  readonly shape: ObjectShape
}

function isSame(keys: Uint8Array, bytes: Buffer, start: number, end: number): boolean {
  if (keys.length !== end - start) return false
  for (let at = 0; at < keys.length; at++) if (keys[at] !== bytes[start + at]) return false
  return true
}

/**
 * Shapes by the bytes of their key list, in two generations: when the young one is full it becomes the old one
 * and the old one is dropped. What is in use moves back to the young one, so dictionaries with ever new keys
 * take bounded memory and do not push out the rows that every request reads.
 */
export class ShapeCache {
  /** What was read last, at a place chosen by a few of its bytes: comparing bytes is cheaper than making a string of them. */
  readonly #latest: (Latest | undefined)[] = Array.from({ length: LATEST })
  #young = new Map<string, ObjectShape>()
  #old = new Map<string, ObjectShape>()

  /** The shape whose key list is the bytes from `start` to `end`. */
  find(bytes: Buffer, start: number, end: number, nullPrototype: boolean): ObjectShape {
    const place = ((end - start) * 31 + bytes[(start + end) >> 1]! + (nullPrototype ? 1 : 0)) % LATEST
    const latest = this.#latest[place]
    if (
      latest !== undefined &&
      latest.nullPrototype === nullPrototype &&
      isSame(latest.keys, bytes, start, end)
    ) {
      return latest.shape
    }
    const shape = this.get(bytes.toString('latin1', start, end), nullPrototype)
    if (end - start <= MAX_REMEMBERED_KEYS_BYTES) {
      this.#latest[place] = { keys: Uint8Array.prototype.slice.call(bytes, start, end), nullPrototype, shape }
    }
    return shape
  }

  /** @param keysBytes the key list's UTF-8 bytes as a Latin-1 string: cheap to make, and as distinct as the bytes */
  get(keysBytes: string, nullPrototype: boolean): ObjectShape {
    const name = nullPrototype ? `null${keysBytes}` : keysBytes
    return this.#young.get(name) ?? this.#remember(name, keysBytes, nullPrototype)
  }

  #remember(name: string, keysBytes: string, nullPrototype: boolean): ObjectShape {
    const keysJson = Buffer.from(keysBytes, 'latin1').toString('utf8')
    const shape = this.#old.get(name) ?? new ObjectShape(keysJson, nullPrototype)
    if (name.length > MAX_REMEMBERED_KEYS_BYTES) return shape
    if (this.#young.size >= GENERATION_SIZE) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(name, shape)
    return shape
  }
}
