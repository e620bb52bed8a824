import { bootMachine } from '../vm/boot/boot.js'
import { forkGuests } from '../vm/fork/fork.js'
import type { VM } from '../vm/guest/vm.js'
import type { ForkOptions } from '../vm/power/fork-options.js'

/** Forks guests at the same moment. Returns one child of each, in the same order. */
export function forkTogether(vms: readonly VM[], options: ForkOptions): Promise<VM[]> {
  return forkGuests(vms, { count: 1, options }, bootMachine)
}
