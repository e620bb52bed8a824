import { type SshKeyPair, toDropbearHostKey } from '../../channel/ssh/keys.js'
import type { GuestTraits } from '../../spec/base-image.js'

/** Encodes a host key in the file format of the guest's SSH server. */
export function encodeHostKey(key: SshKeyPair, format: GuestTraits['hostKeyFormat']): Buffer {
  return format === 'dropbear' ? toDropbearHostKey(key) : Buffer.from(key.privateKey)
}
