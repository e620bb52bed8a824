import type { BaseImage } from './base-image.js'
import type { DiskCache, DiskInterface } from './options/disks.js'

/** How a disk is connected. */
export interface SystemDiskSpec {
  readonly interface: DiskInterface
  readonly index: number | undefined
  readonly serial: string | undefined
  readonly bootIndex: number | undefined
  readonly cache: DiskCache | undefined
  readonly discard: 'unmap' | 'ignore'
}

/** What is on a disk: what lies in a file, or nothing yet; an empty drive has neither. */
export type DiskContent =
  | { readonly kind: 'image'; readonly file: NonNullable<BaseImage['disk']> }
  | { readonly kind: 'new'; readonly bytes: number }
  | { readonly kind: 'empty' }

/** A disk beside the system's. */
export interface DiskSpec extends SystemDiskSpec {
  readonly content: DiskContent
  readonly media: 'disk' | 'cdrom'
  readonly isReadonly: boolean
  /** What the guest writes goes to the file itself. */
  readonly isWrittenThrough: boolean
}
