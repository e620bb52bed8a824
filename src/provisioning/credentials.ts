/**
 * Gives the SMBIOS type 11 strings by which systemd (from version 252) and the guest `tiny` receive
 * credentials (systemd's CREDENTIALS.md). Each goes into a file of its own and to QEMU as
 * `-smbios type=11,path=FILE`, for a secret on a command line can be read by every user of the host.
 *
 * A value that is one line of printable ASCII goes as it is, which spares the guest decoding it.
 */
export function buildSmbiosStrings(credentials: Readonly<Record<string, Uint8Array>>): string[] {
  return Object.entries(credentials).map(([name, value]) => {
    const bytes = Buffer.from(value)
    const isText = bytes.length > 0 && bytes.every((byte) => byte >= 0x20 && byte < 0x7f)
    return isText
      ? `io.systemd.credential:${name}=${bytes.toString('latin1')}`
      : `io.systemd.credential.binary:${name}=${bytes.toString('base64')}`
  })
}
