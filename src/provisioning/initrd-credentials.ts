import { type CpioEntry, packCpio } from '../archive/cpio.js'

/** Folder in the initrd from which its init program reads the credentials. */
export const CREDENTIALS_FOLDER = '/credentials'

/**
 * Appends credentials to an initrd: the kernel unpacks concatenated archives on top of each other
 * (Documentation/driver-api/early-userspace/buffer-format.rst). For machines without SMBIOS.
 */
export function addCredentials(initrd: Buffer, credentials: Readonly<Record<string, Uint8Array>>): Buffer {
  const folder = CREDENTIALS_FOLDER.slice(1)
  const files = Object.entries(credentials).map(
    ([name, content]): CpioEntry => ({ path: `${folder}/${name}`, mode: 0o100600, content }),
  )
  return Buffer.concat([initrd, packCpio([{ path: folder, mode: 0o040700 }, ...files])])
}
