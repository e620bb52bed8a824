import type { Command } from 'commander'
import { vmError } from '../errors.js'
import type { DiskFormat } from '../spec/base-image.js'
import type { ImageSource } from '../spec/image-source.js'

/** Image flags of the command line, besides the name, path or URL of the image. */
export interface ImageFlags {
  readonly format?: string
  readonly sha256?: string
  readonly sha512?: string
  readonly secretFile?: string
}

export const IMAGE_HELP = 'name of a recipe, path, or URL with its checksum'

/** Adds the image flags to a command. */
export function addImageFlags(command: Command): Command {
  return command
    .option('--format <name>', "disk format, such as 'raw' or 'qcow2' (default: detected from the content)")
    .option('--sha256 <digits>', 'SHA-256 checksum of the file at the URL')
    .option('--sha512 <digits>', 'SHA-512 checksum of the file at the URL')
    .option('--secret-file <path>', 'file that contains only the passphrase of an encrypted image')
}

/**
 * Converts flags to an image source. The validation of the options rejects other invalid
 * combinations.
 *
 * @throws {UsageError} INVALID_OPTIONS when a path has a checksum.
 */
export function readImageSource(
  image: string,
  { format, sha256, sha512, secretFile }: ImageFlags,
): ImageSource {
  const checksums = {
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(sha512 === undefined ? {} : { sha512 }),
  }
  const options = {
    ...(format === undefined ? {} : { format: format as DiskFormat }),
    ...(secretFile === undefined ? {} : { secret: { file: secretFile } }),
  }
  if (/^https?:/i.test(image)) return { url: image, ...checksums, ...options }
  for (const name of Object.keys(checksums)) {
    throw vmError('INVALID_OPTIONS', {
      summary: `The option \`--${name}\` is the checksum of a download.`,
      expected: 'a URL as image',
      got: `'${image}'`,
      hint: `Remove \`--${name}\`, or specify a URL.`,
    })
  }
  return Object.keys(options).length === 0 ? image : { path: image, ...options }
}
