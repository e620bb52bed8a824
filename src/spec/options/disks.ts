import type { MemorySize } from '../../common/units.js'
import type { DiskFormat } from '../base-image.js'
import type { PreparedImage } from '../image-definition.js'
import type { ImageSource } from '../image-source.js'

/** What a disk is connected to. `ide` on a `q35` machine is its SATA controller. */
export type DiskInterface = 'virtio' | 'scsi' | 'ide' | 'sata' | 'usb' | 'nvme' | 'sd' | 'floppy' | 'pflash'

/** How QEMU caches a disk, as with `-drive cache=`. */
export type DiskCache = 'none' | 'writeback' | 'writethrough' | 'directsync' | 'unsafe'

/** How a disk is connected. */
export interface DiskConnection {
  /** What it is connected to (QEMU: `-device`). @default 'virtio'; 'ide' for a CD */
  readonly interface?: DiskInterface
  /** Its place there, counted from 0: `ide` 0 is `hda`. (QEMU: `-device …,bus=,unit=`). @default the next that is free */
  readonly index?: number
  /** Its serial number, as the guest reads it (QEMU: `-device …,serial=`). @default none */
  readonly serial?: string
  /** Its place in the firmware's boot order, 1 for the first (QEMU: `-device …,bootindex=`). @default none */
  readonly bootIndex?: number
  /** How it is cached (QEMU: `-drive cache=`). @default QEMU's: 'writeback' */
  readonly cache?: DiskCache
  /** What becomes of blocks that the guest discards (QEMU: `-drive discard=`). @default 'unmap' */
  readonly discard?: 'unmap' | 'ignore'
}

/** A disk beside the system's: of an image, or a new one. One of `image` and `size` has to be there, but for an empty CD drive. */
export interface DiskOptions extends DiskConnection {
  /** What is on it: a path, or what `image` may be (QEMU: `-drive file=`). @default nothing: it is new, of `size` */
  readonly image?: ImageSource
  /** The size of a new disk: MiB, or with a unit. @default the image's */
  readonly size?: MemorySize
  /** The format of the image at a path. @default found out by the content; 'raw' for a CD */
  readonly format?: DiskFormat
  /** Whether it is a disk or a CD, which is read only (QEMU: `-drive media=`). @default 'disk' */
  readonly media?: 'disk' | 'cdrom'
  /** Whether the guest can only read it (QEMU: `-drive readonly=`). @default false */
  readonly readonly?: boolean
  /**
   * Whether what the guest writes is thrown away with it. `false` WRITES TO THE FILE ITSELF: nothing brings back what was there,
   * and no other guest can use it meanwhile (QEMU: `-drive snapshot=`). @default true
   */
  readonly snapshot?: boolean
}

/** The disks. What guests write goes to an overlay of their own. */
export interface DiskOptionGroup<VM = unknown> {
  /** What to boot from; never written to. `false`: no disk (QEMU: `-drive`, with an overlay). @default 'tiny'; no disk if only `kernel` is given */
  readonly image?: ImageSource | PreparedImage<VM> | false
  /** How the disk with the image is connected (QEMU: `-device`). @default { interface: 'virtio' } */
  readonly systemDisk?: DiskConnection
  /** Further disks (QEMU: `-drive` and `-device`). @default none */
  readonly disks?: readonly DiskOptions[]
  /** The first IDE disk, to boot from: `image` with `systemDisk: { interface: 'ide', index: 0 }` (QEMU: `-hda`). @default none */
  readonly hda?: ImageSource
  /** The second IDE disk (QEMU: `-hdb`). @default none */
  readonly hdb?: ImageSource
  /** The third IDE disk (QEMU: `-hdc`). @default none */
  readonly hdc?: ImageSource
  /** The fourth IDE disk (QEMU: `-hdd`). @default none */
  readonly hdd?: ImageSource
  /** A CD, in the place of `hdc` (QEMU: `-cdrom`). @default none */
  readonly cdrom?: ImageSource
  /** The first floppy disk (QEMU: `-fda`). @default none */
  readonly fda?: ImageSource
  /** The second floppy disk (QEMU: `-fdb`). @default none */
  readonly fdb?: ImageSource
}
