import type { BaseImage } from './base-image.js'

/** QEMU's minimal x86 machine type without legacy PC devices. */
export const MICROVM = 'microvm'

/**
 * Removes image settings that a microvm does not support. It has no SMBIOS tables (QEMU 7.2,
 * hw/i386/microvm.c), so no credentials. Its PCI bus is found through ACPI, so the arguments for
 * one CPU (`pci=noacpi`) are removed.
 */
export function adaptToMicrovm(image: BaseImage | undefined): BaseImage | undefined {
  if (image === undefined) return undefined
  const { hostKeyFormat: _, ...traits } = image.traits
  const { directBoot } = image
  return {
    ...image,
    traits: { ...traits, credentials: 'none' },
    ...(directBoot === undefined ? {} : { directBoot: { ...directBoot, appendForOneCpu: [] } }),
  }
}
