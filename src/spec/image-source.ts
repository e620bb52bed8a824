import type { DiskFormat, DiskSecret } from './base-image.js'

/** A disk image of this host. */
export interface FileImage {
  /** The path of a disk image, packed or not, of an `.ova`, or of a root file system or an OCI image layout: a folder or a tarball. */
  readonly path: string
  /** The format of the disk. Say it where a guest may have written to the disk. @default found out by the content */
  readonly format?: DiskFormat
  /** Folders in which files that the image needs (backing files, data files) may lie. @default the image's own folder */
  readonly backingFolders?: readonly string[]
  /**
   * What opens an encrypted image (LUKS 1, in a qcow2 or by itself), or a file that has it: all bytes of it, a line end too.
   * QEMU gets it by a file of the run's private folder.
   * @default none
   */
  readonly secret?: DiskSecret
}

/** An image that is downloaded once and kept. One of the checksums has to be there. */
export interface UrlImage {
  /** Where it is: `http:` or `https:`. */
  readonly url: string
  /** The SHA-256 of the file at that place, in hexadecimal. */
  readonly sha256?: string
  /** The SHA-512 of the file at that place, in hexadecimal. */
  readonly sha512?: string
  /** The format of the disk. @default found out by the content */
  readonly format?: DiskFormat
  /** What opens an encrypted image, as with a file. @default none */
  readonly secret?: DiskSecret
}

/**
 * A base image: a recipe's name (`'tiny'`), a path, a `file:` URL, or one of the objects that say more. What is at a path
 * is found out by its content.
 */
export type ImageSource = string | FileImage | UrlImage
