import type { ImageSource } from './image-source.js'
import type { DiskConnection, DiskInterface, DiskOptions } from './options/disks.js'
import type { VMOptions } from './options.js'

/** A requested disk with the path of its option: `disks[0]`, `cdrom`. */
export interface ListedDisk {
  readonly path: string
  readonly disk: DiskOptions
}

type LetteredOption = 'hdb' | 'hdc' | 'hdd' | 'cdrom' | 'fda' | 'fdb'

/** Connections of the options `hdb` to `fdb`. */
const LETTERED_OPTIONS: Readonly<Record<LetteredOption, Omit<DiskOptions, 'image'>>> = {
  hdb: { interface: 'ide', index: 1 },
  hdc: { interface: 'ide', index: 2 },
  hdd: { interface: 'ide', index: 3 },
  cdrom: { interface: 'ide', index: 2, media: 'cdrom' },
  fda: { interface: 'floppy', index: 0 },
  fdb: { interface: 'floppy', index: 1 },
}

/** Returns all additional disks: `disks`, and the options `hdb` to `fdb`. */
export function listDisks(options: Pick<VMOptions, 'disks' | LetteredOption>): ListedDisk[] {
  const numbered = (options.disks ?? []).map((disk, index) => ({ path: `disks[${index}]`, disk }))
  const lettered = (Object.keys(LETTERED_OPTIONS) as LetteredOption[]).flatMap((letter) => {
    const image = options[letter]
    return image === undefined ? [] : [{ path: letter, disk: { image, ...LETTERED_OPTIONS[letter] } }]
  })
  return [...numbered, ...lettered]
}

/** Returns image and connection of the system disk as far as the options specify them. */
export function readSystemDisk(options: VMOptions): {
  readonly image: VMOptions['image']
  readonly connection: DiskConnection
} {
  const { image, hda, systemDisk = {} } = options
  if (hda === undefined) return { image, connection: systemDisk }
  return { image: hda, connection: { ...systemDisk, interface: 'ide', index: 0 } }
}

/** Returns the image of a disk with its format: raw by default for CDs, floppy disks and flash. */
export function readDiskSource({
  image,
  format,
  media,
  interface: kind,
}: DiskOptions): ImageSource | undefined {
  if (image === undefined) return undefined
  const isBare = media === 'cdrom' || kind === 'floppy' || kind === 'pflash'
  const known = format ?? (isBare ? 'raw' : undefined)
  if (known === undefined) return image
  if (typeof image === 'string') return { path: image, format: known }
  return image.format === undefined ? { ...image, format: known } : image
}

/** Interfaces for which QEMU does not support `bootindex`. */
export const WITHOUT_BOOT_INDEX: readonly DiskInterface[] = ['sd', 'pflash']
