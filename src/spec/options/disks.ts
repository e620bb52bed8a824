import type { MemorySize } from '../../common/units.js'
import type { DiskFormat } from '../base-image.js'
import type { PreparedSource } from '../image-definition.js'
import type { ImageSource } from '../image-source.js'

/** Interface of a disk. On a `q35` machine, `ide` is the SATA controller. */
export type DiskInterface = 'virtio' | 'scsi' | 'ide' | 'sata' | 'usb' | 'nvme' | 'sd' | 'floppy' | 'pflash'

/** Cache mode of a disk, as in `-drive cache=`. */
export type DiskCache = 'none' | 'writeback' | 'writethrough' | 'directsync' | 'unsafe'

/** Connection of a disk to the machine. */
export interface DiskConnection {
  /** Interface that the disk is attached to (QEMU: `-device`). @default 'virtio'; 'ide' for a CD */
  readonly interface?: DiskInterface | undefined
  /**
   * Index on that interface, counted from 0: `ide` 0 is `hda` (QEMU: `-device …,bus=,unit=`).
   * @default the next free one
   */
  readonly index?: number | undefined
  /**
   * Serial number reported to the guest, at most 36 printable characters (QEMU: `-device
   * …,serial=`).
   * @default none
   */
  readonly serial?: string | undefined
  /**
   * Position in the firmware's boot order, 1 to 1000, 1 is first (QEMU: `-device …,bootindex=`).
   * @default none
   */
  readonly bootIndex?: number | undefined
  /** Cache mode (QEMU: `-drive cache=`). @default QEMU's: 'writeback' */
  readonly cache?: DiskCache | undefined
  /** Handling of blocks that the guest discards (QEMU: `-drive discard=`). @default 'unmap' */
  readonly discard?: 'unmap' | 'ignore' | undefined
}

/**
 * An additional disk: an existing image or a new disk. Requires either `image` or `size`, except
 * for an empty CD or floppy drive.
 */
export interface DiskOptions extends DiskConnection {
  /**
   * Image on the disk: a path, or any other image source (QEMU: `-drive file=`).
   * @default none: a new disk of `size`
   */
  readonly image?: ImageSource | undefined
  /** Size of a new disk: MiB, or with a unit: `'2G'`. @default the image's */
  readonly size?: MemorySize | undefined
  /**
   * Format of the image. @default detected from the content; 'raw' for a CD, floppy disk or flash
   */
  readonly format?: DiskFormat | undefined
  /**
   * Type of medium: a disk, or a CD, which is read-only (QEMU: `-drive media=`). @default 'disk'
   */
  readonly media?: 'disk' | 'cdrom' | undefined
  /** If true, the disk is read-only for the guest (QEMU: `-drive readonly=`). @default false */
  readonly readonly?: boolean | undefined
  /**
   * If true, the guest's writes go to an overlay and are discarded with the guest. If false, the
   * guest WRITES TO THE FILE ITSELF: the previous content is lost, and no other guest can use the
   * file at the same time (QEMU: `-drive snapshot=`).
   * @default true
   */
  readonly snapshot?: boolean | undefined
}

/** Disks. The writes of a guest go to its own overlay. */
export interface DiskOptionGroup {
  /**
   * Base image to boot from, never written to. `false` boots without a disk (QEMU: `-drive`, with
   * an overlay).
   * @default 'tiny'; no disk if only `kernel` is given
   */
  readonly image?: ImageSource | PreparedSource | false | undefined
  /**
   * Connection of the disk that has the image (QEMU: `-device`). @default { interface: 'virtio' }
   */
  readonly systemDisk?: DiskConnection | undefined
  /** Additional disks (QEMU: `-drive` and `-device`). @default none */
  readonly disks?: readonly DiskOptions[] | undefined
  /**
   * First IDE disk, which the guest boots from. Short for `image` with `systemDisk: { interface:
   * 'ide', index: 0 }` (QEMU: `-hda`).
   * @default none
   */
  readonly hda?: ImageSource | undefined
  /** Second IDE disk (QEMU: `-hdb`). @default none */
  readonly hdb?: ImageSource | undefined
  /** Third IDE disk (QEMU: `-hdc`). @default none */
  readonly hdc?: ImageSource | undefined
  /** Fourth IDE disk (QEMU: `-hdd`). @default none */
  readonly hdd?: ImageSource | undefined
  /** CD drive, attached in place of `hdc` (QEMU: `-cdrom`). @default none */
  readonly cdrom?: ImageSource | undefined
  /** First floppy disk (QEMU: `-fda`). @default none */
  readonly fda?: ImageSource | undefined
  /** Second floppy disk (QEMU: `-fdb`). @default none */
  readonly fdb?: ImageSource | undefined
}
