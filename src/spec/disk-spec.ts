import type { BaseImage } from './base-image.js'
import type { DiskCache, DiskInterface } from './options/disks.js'

/** Connection of a disk. */
export interface SystemDiskSpec {
  readonly interface: DiskInterface
  readonly index: number | undefined
  readonly serial: string | undefined
  readonly bootIndex: number | undefined
  readonly cache: DiskCache | undefined
  readonly discard: 'unmap' | 'ignore'
}

/** Content of a disk: an image file, a new empty disk, or an empty drive without a medium. */
export type DiskContent =
  | { readonly kind: 'image'; readonly file: NonNullable<BaseImage['disk']> }
  | { readonly kind: 'new'; readonly bytes: number }
  | { readonly kind: 'empty' }

/** An additional disk. */
export interface DiskSpec extends SystemDiskSpec {
  readonly content: DiskContent
  readonly media: 'disk' | 'cdrom'
  readonly isReadonly: boolean
  /** If true, the guest writes to the file itself, without an overlay. */
  readonly isWrittenDirectly: boolean
}
