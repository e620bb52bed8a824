import type { DiskFormat, DiskSecret } from './base-image.js'

/** A disk image on the host. */
export interface FileImage {
  /**
   * Path of a disk image (compressed or not), an `.ova`, or a root file system or OCI image layout
   * as a folder or tarball.
   */
  readonly path: string
  /**
   * Format of the disk. Set it if a guest may have written to the disk.
   * @default detected from the content
   */
  readonly format?: DiskFormat | undefined
  /**
   * Folders that may contain files the image depends on (backing files, data files).
   * @default the image's own folder
   */
  readonly backingFolders?: readonly string[] | undefined
  /**
   * Passphrase of an encrypted image (LUKS 1, plain or inside a qcow2), or a file that contains
   * exactly the passphrase: a trailing line feed is part of it. It is passed to QEMU through a file
   * in the run's private folder.
   * @default none
   */
  readonly secret?: DiskSecret | undefined
}

/** An image that is downloaded once and cached. Requires exactly one checksum. */
export interface UrlImage {
  /** URL of the image: `http:` or `https:`, without user and password. */
  readonly url: string
  /** SHA-256 of the downloaded file, in hexadecimal. */
  readonly sha256?: string | undefined
  /** SHA-512 of the downloaded file, in hexadecimal. */
  readonly sha512?: string | undefined
  /** Format of the disk. @default detected from the content */
  readonly format?: DiskFormat | undefined
  /**
   * Passphrase of an encrypted image, or a file that contains it, as for a local image.
   * @default none
   */
  readonly secret?: DiskSecret | undefined
}

/**
 * A base image: the name of a recipe (`'tiny'`), a path, a `file:` URL, or an object with more
 * settings. The type of a file is detected from its content.
 */
export type ImageSource = string | FileImage | UrlImage
