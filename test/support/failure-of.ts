import { VMError } from '../../src/errors.js'

/** Gives the error that a promise rejects with; throws when it does not, or with another kind of error. */
export async function failureOf(promise: Promise<unknown>): Promise<VMError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  if (!('error' in outcome)) throw new Error(`expected a failure, got ${String(outcome.value)}`)
  if (outcome.error instanceof VMError) return outcome.error
  throw outcome.error
}
