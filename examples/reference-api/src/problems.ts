import { CorralError } from 'corral'
import { OutdatedOfferError, UnknownProductError } from './store/movie-store.js'

/** What a client did wrong, or what is not there: it becomes an answer with `status` and the message. */
export class Problem extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export interface ProblemAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: { readonly error: string }
}

/** The answer for an error of any kind. What is our own fault is told to the log, not to the client. */
export function describeProblem(error: unknown): ProblemAnswer {
  if (error instanceof Problem) return answer(error.status, error.message)
  if (error instanceof UnknownProductError) return answer(404, error.message)
  if (error instanceof OutdatedOfferError) return answer(409, error.message)
  if (error instanceof CorralError) {
    switch (error.code) {
      case 'OVERLOADED':
      case 'LOAD_TIMEOUT':
      case 'REDIS_UNAVAILABLE':
      case 'BACKLOG_FULL':
      case 'WRITE_UNKNOWN':
      case 'DURABILITY_UNMET':
      case 'CLOSED':
        return answer(503, 'The service is busy; try again in a moment.', { 'Retry-After': '1' })
      case 'WRITE_TIMEOUT':
        return answer(503, 'The change took too long and may have been made or not: read it again.')
      case 'LOAD_FAILED_ELSEWHERE':
        return answer(502, 'The database did not answer.')
    }
  }
  if (isClientError(error)) return answer(error.status, error.message)
  return answer(500, 'Something went wrong on our side.')
}

function answer(
  status: number,
  error: string,
  headers: Readonly<Record<string, string>> = {}
): ProblemAnswer {
  return { status, headers, body: { error } }
}

/** Express and its parsers mark what the client did wrong: a malformed path, a body that is no JSON. */
function isClientError(error: unknown): error is { status: number; message: string } {
  if (!(error instanceof Error) || !('status' in error)) return false
  return typeof error.status === 'number' && error.status >= 400 && error.status < 500
}
