import type { BaseImage } from './base-image.js'

/** QEMU's machine without the devices of a PC. */
export const MICROVM = 'microvm'

/**
 * What of an image such a machine can have. It has no tables of SMBIOS (QEMU 7.2, hw/i386/microvm.c), so nothing that the image takes
 * from there; and its PCI is found by ACPI, which a guest of one CPU would do without.
 */
export function forMicrovm(image: BaseImage | undefined): BaseImage | undefined {
  if (image === undefined) return undefined
  const { hostKeyFormat: _, ...traits } = image.traits
  const { directBoot } = image
  return {
    ...image,
    traits: { ...traits, credentials: 'none' },
    ...(directBoot === undefined ? {} : { directBoot: { ...directBoot, appendForOneCpu: [] } }),
  }
}
