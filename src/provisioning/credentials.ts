/**
 * Returns the SMBIOS type 11 strings through which systemd (version 252 or newer) and the guest
 * `tiny` receive credentials (systemd's CREDENTIALS.md). Each string is passed to QEMU in a file,
 * as `-smbios type=11,path=FILE`, because every user of the host can read command lines.
 *
 * A value that is one line of printable ASCII is not encoded, which spares the guest the decoding.
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
