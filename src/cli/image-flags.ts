import type { Command } from 'commander'
import type { DiskFormat } from '../spec/base-image.js'
import type { ImageSource } from '../spec/image-source.js'

/** What a command line can say of an image beside its name, path or URL. */
export interface ImageFlags {
  readonly format?: string
  readonly sha256?: string
  readonly sha512?: string
  readonly secretFile?: string
}

export const IMAGE_HELP = "an image: a recipe's name, a path, or a URL with its checksum"

/** Gives a command the options that describe an image. */
export function addImageFlags(command: Command): Command {
  return command
    .option('--format <name>', "the format of the disk, as 'raw' or 'qcow2'; else it is found by the content")
    .option('--sha256 <digits>', 'the checksum of what is at a URL')
    .option('--sha512 <digits>', 'the same, by another algorithm')
    .option('--secret-file <path>', 'a file with what opens an encrypted image, and nothing else')
}

/** Turns flags into an image; what cannot be meant is found by the check of all options. */
export function readImageSource(
  image: string,
  { format, sha256, sha512, secretFile }: ImageFlags,
): ImageSource {
  const checksums = {
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(sha512 === undefined ? {} : { sha512 }),
  }
  const said = {
    ...(format === undefined ? {} : { format: format as DiskFormat }),
    ...(secretFile === undefined ? {} : { secret: { file: secretFile } }),
  }
  if (/^https?:/i.test(image)) return { url: image, ...checksums, ...said }
  const more = { ...checksums, ...said }
  return Object.keys(more).length === 0 ? image : { path: image, ...more }
}
