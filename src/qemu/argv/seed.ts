import { joinOption } from './join-option.js'

/** The disk that cloud-init reads. Behind all others: the names of disks and cards stay what they are without it. */
export function seedArgs(seedDisk: string | undefined): string[] {
  if (seedDisk === undefined) return []
  return [
    '-drive',
    joinOption('', { id: 'seed', if: 'none', file: seedDisk, format: 'raw', 'read-only': 'on' }),
    '-device',
    'virtio-blk-pci,drive=seed,serial=cidata',
  ]
}
