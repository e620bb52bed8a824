import { virtioDevice } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import { joinOption } from './join-option.js'

/**
 * Returns the arguments of the seed disk for cloud-init. It is the last device, so names of disks
 * and cards do not change.
 */
export function cloudInitDiskArgs({ arch }: MachineSpec, seedDisk: string | undefined): string[] {
  if (seedDisk === undefined) return []
  return [
    '-drive',
    joinOption('', { id: 'seed', if: 'none', file: seedDisk, format: 'raw', 'read-only': 'on' }),
    '-device',
    `${virtioDevice('blk', arch)},drive=seed,serial=cidata`,
  ]
}
