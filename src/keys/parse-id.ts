import { InvalidKeyError } from '../errors.js'
import type { CacheId, IdObject, IdPart } from '../ports.js'
import { idPart, LONGEST_PART } from './key-schema.js'

const NUMBER = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/
const BIGINT = /^-?\d+n$/
/** What stands for a part that was too long. */
const HASHED = /^#[A-Za-z0-9_-]{43}$/

/**
 * The id that `idPart` made this part of a key of; undefined for one that was hashed, or that `idPart` cannot have made.
 * A field that was undefined in an object was left out, and `-0` became `0`.
 */
export function parseId(part: string): IdPart | undefined {
  if (part.startsWith('#') || part.length > LONGEST_PART) return undefined
  const parser = new Parser(part)
  try {
    const id = parser.value()
    // 007 reads as 7 and %41 as A, but neither is how that id is written: it would be taken for another one's.
    return parser.isAtEnd && idPart(id as CacheId) === part ? id : undefined
  } catch (error) {
    // A key of somebody else's in our namespace: not an id, and that is the answer.
    if (error instanceof NotAnId || error instanceof URIError || error instanceof InvalidKeyError)
      return undefined
    throw error
  }
}

/** Whether a tenant is written so in its keys. */
export function isTenantPart(part: string): boolean {
  if (HASHED.test(part)) return true
  const tenant = parseId(part)
  return tenant !== '' && ['string', 'number', 'bigint'].includes(typeof tenant)
}

class NotAnId extends Error {}

class Parser {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length
  }

  value(): IdPart {
    if (this.#text[this.#at] === '(') return this.#list()
    const token = this.#until(/[,()=]/)
    if (token.startsWith("'") && token.endsWith("'") && token.length >= 2) return token.slice(1, -1)
    if (NUMBER.test(token)) return Number(token)
    if (BIGINT.test(token)) return BigInt(token.slice(0, -1))
    if (token === 'true' || token === 'false') return token === 'true'
    if (token === 'null') return null
    if (token === '') throw new NotAnId()
    return decodeURIComponent(token)
  }

  /** `(a,b)`, `()`, `(name=a)` or `(=)`. */
  #list(): IdPart {
    this.#expect('(')
    if (this.#text.startsWith('=)', this.#at)) {
      this.#at += 2
      return {}
    }
    const [elements, fields]: [IdPart[], Record<string, IdPart>] = [
      [],
      Object.create(null) as IdObject & Record<string, IdPart>
    ]
    while (this.#text[this.#at] !== ')') {
      const first = this.value()
      if (this.#text[this.#at] === '=') {
        this.#at++
        if (typeof first === 'object') throw new NotAnId()
        fields[String(first)] = this.value()
      } else {
        elements.push(first)
      }
      if (this.#text[this.#at] === ',') this.#at++
      else if (this.#text[this.#at] !== ')') throw new NotAnId()
    }
    this.#expect(')')
    const names = Object.keys(fields)
    if (names.length > 0 && elements.length > 0) throw new NotAnId()
    return names.length > 0 ? { ...fields } : elements
  }

  #until(end: RegExp): string {
    const rest = this.#text.slice(this.#at)
    const length = rest.search(end)
    const token = length === -1 ? rest : rest.slice(0, length)
    this.#at += token.length
    return token
  }

  #expect(character: string): void {
    if (this.#text[this.#at] !== character) throw new NotAnId()
    this.#at++
  }
}
