import { type SshKeyPair, toDropbearHostKey } from '../../channel/ssh/keys.js'
import type { GuestTraits } from '../../spec/base-image.js'

/** A host key as the guest's SSH server reads it from a file. */
export function encodeHostKey(key: SshKeyPair, format: GuestTraits['hostKeyFormat']): Buffer {
  return format === 'dropbear' ? toDropbearHostKey(key) : Buffer.from(key.privateKey)
}
