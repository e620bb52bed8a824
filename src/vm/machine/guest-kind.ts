import type { GuestKind } from '../../budget/usage.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { MachineHost } from './guest-plan.js'

/**
 * Returns the properties of a guest that determine how much memory its QEMU uses: what it boots,
 * and whether it shares RAM with others.
 */
export function describeGuestKind(
  { image, directBoot, memoryBytes, memoryGrowth, cpus }: MachineSpec,
  { accelerator, qemu }: MachineHost,
  { isClone, becomesTemplate = false }: { readonly isClone: boolean; readonly becomesTemplate?: boolean },
): GuestKind {
  const start = isClone ? 'clone' : 'boots'
  const what = image?.fingerprint ?? image?.name ?? 'no image'
  const kernel = directBoot?.kernel ?? 'its own kernel'
  return {
    memoryBytes,
    maxBytes: memoryGrowth?.maxBytes,
    traits: [
      what,
      kernel,
      cpus,
      accelerator,
      qemu.fingerprint,
      start,
      becomesTemplate ? 'becomes a template' : '',
    ],
  }
}
