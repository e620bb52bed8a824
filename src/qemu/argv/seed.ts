import { virtioDevice } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import { joinOption } from './join-option.js'

/** The disk that cloud-init reads. Behind all others: the names of disks and cards stay what they are without it. */
export function seedArgs({ arch }: MachineSpec, seedDisk: string | undefined): string[] {
  if (seedDisk === undefined) return []
  return [
    '-drive',
    joinOption('', { id: 'seed', if: 'none', file: seedDisk, format: 'raw', 'read-only': 'on' }),
    '-device',
    `${virtioDevice('blk', arch)},drive=seed,serial=cidata`,
  ]
}
