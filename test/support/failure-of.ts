import { VMError } from '../../src/errors.js'

/** Returns the VMError that a promise rejects with. Throws if it resolves or rejects with another error. */
export async function failureOf(promise: Promise<unknown>): Promise<VMError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  if (!('error' in outcome)) throw new Error(`expected a failure, got ${String(outcome.value)}`)
  if (outcome.error instanceof VMError) return outcome.error
  throw outcome.error
}
