import { type CpioEntry, packCpio } from '../archive/cpio.js'

/** Where in the RAM disk its program finds what the run gives to the guest. */
export const CREDENTIALS_FOLDER = '/credentials'

/**
 * Puts credentials behind an initial RAM disk: the kernel unpacks both archives, one over the other
 * (Documentation/driver-api/early-userspace/buffer-format.rst). For machines that can be told nothing by SMBIOS.
 */
export function addCredentials(initrd: Buffer, credentials: Readonly<Record<string, Uint8Array>>): Buffer {
  const folder = CREDENTIALS_FOLDER.slice(1)
  const files = Object.entries(credentials).map(
    ([name, content]): CpioEntry => ({ path: `${folder}/${name}`, mode: 0o100600, content }),
  )
  return Buffer.concat([initrd, packCpio([{ path: folder, mode: 0o040700 }, ...files])])
}
