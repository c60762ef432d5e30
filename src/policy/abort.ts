import { InvalidOptionError } from '../errors.js'

/** Throws its reason when it has fired. */
export function signalOf(
  options: { readonly signal?: AbortSignal | undefined } | undefined
): AbortSignal | undefined {
  const signal = options?.signal
  if (signal === undefined) return undefined
  // By its shape: it may be of another realm, or a polyfill.
  if (typeof signal?.throwIfAborted !== 'function')
    throw new InvalidOptionError('signal', signal, 'an AbortSignal')
  signal.throwIfAborted()
  return signal
}

/** `work`, unless the caller's signal fires first. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', giveUp, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}
