import type { Preparation } from '../../spec/image-definition.js'
import type { VM } from './vm.js'

/**
 * Runs a preparation in a guest. The types of the options cannot name `VM`, so its argument is
 * typed here.
 */
export async function runPreparation({ run }: Preparation, vm: VM): Promise<void> {
  await (run as (vm: VM) => unknown)(vm)
}
