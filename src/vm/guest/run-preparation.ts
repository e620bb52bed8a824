import { findNotAwaited, runUserCode } from '../../common/calls/calls.js'
import type { Preparation } from '../../spec/image-definition.js'
import type { VM } from './vm.js'

/**
 * Runs a preparation in a guest. The types of the options cannot name `VM`, so its argument is
 * typed here.
 *
 * @throws {UsageError} NOT_AWAITED when a call in it was not awaited.
 */
export async function runPreparation({ run }: Preparation, vm: VM): Promise<void> {
  vm.calls.start({})
  try {
    await runUserCode(() => (run as (vm: VM) => unknown)(vm))
  } catch (error) {
    vm.calls.takeUnhandled() // a step that failed had no chance to await all calls
    throw error
  }
  const error = findNotAwaited([vm.calls], 'the preparation of the image ended')
  if (error !== undefined) throw error
}
