import type { ImageSource } from './image-source.js'
import type { DiskConnection, DiskInterface, DiskOptions } from './options/disks.js'
import type { VMOptions } from './options.js'

/** A disk that was asked for, and where: `disks[0]`, `cdrom`. */
export interface ListedDisk {
  readonly path: string
  readonly disk: DiskOptions
}

type Letter = 'hdb' | 'hdc' | 'hdd' | 'cdrom' | 'fda' | 'fdb'

/** What the options with a letter stand for. */
const LETTERS: Readonly<Record<Letter, Omit<DiskOptions, 'image'>>> = {
  hdb: { interface: 'ide', index: 1 },
  hdc: { interface: 'ide', index: 2 },
  hdd: { interface: 'ide', index: 3 },
  cdrom: { interface: 'ide', index: 2, media: 'cdrom' },
  fda: { interface: 'floppy', index: 0 },
  fdb: { interface: 'floppy', index: 1 },
}

/** All disks beside the system's: those of `disks`, and those that have a letter. */
export function listDisks(options: Pick<VMOptions, 'disks' | Letter>): ListedDisk[] {
  const numbered = (options.disks ?? []).map((disk, index) => ({ path: `disks[${index}]`, disk }))
  const lettered = (Object.keys(LETTERS) as Letter[]).flatMap((letter) => {
    const image = options[letter]
    return image === undefined ? [] : [{ path: letter, disk: { image, ...LETTERS[letter] } }]
  })
  return [...numbered, ...lettered]
}

/** What the system's disk is made of, and how it is connected; undefined where the options do not say. */
export function readSystemDisk<VM>(options: VMOptions<VM>): {
  readonly image: VMOptions<VM>['image']
  readonly connection: DiskConnection
} {
  const { image, hda, systemDisk = {} } = options
  if (hda === undefined) return { image, connection: systemDisk }
  return { image: hda, connection: { ...systemDisk, interface: 'ide', index: 0 } }
}

/** An image as it is to be opened: CDs, floppy disks and flash have no format. */
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

/** What QEMU cannot give a place in the firmware's boot order (`bootindex`). */
export const WITHOUT_BOOT_INDEX: readonly DiskInterface[] = ['sd', 'pflash']
