import type { VMOptions } from '../spec/options.js'

/**
 * Merges imported options with explicit ones, which take precedence. The system disk of the import
 * applies only to the image of the import.
 */
export function mergeImported(imported: VMOptions, explicit: VMOptions): VMOptions {
  const { image, hda, systemDisk, ...rest } = imported
  const disk = hasImage(explicit) ? {} : { image, hda, systemDisk }
  return pickDefined({ ...rest, ...disk, ...pickDefined(explicit) })
}

export function hasImage({ image, hda }: VMOptions): boolean {
  return image !== undefined || hda !== undefined
}

/** Returns the options that are set: an option that is undefined overrides nothing. */
export function pickDefined(options: VMOptions): VMOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
