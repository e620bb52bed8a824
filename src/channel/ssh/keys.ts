import { generateKeyPairSync, randomBytes } from 'node:crypto'

/** An Ed25519 key pair, for a client or a host. */
export interface SshKeyPair {
  /** In OpenSSH's format, without a passphrase. */
  readonly privateKey: string
  /** As in a public key file: `ssh-ed25519 AAAA…`. */
  readonly publicKey: string
  /** The public key as the protocol sends it: what a host key is pinned to. */
  readonly publicBlob: Buffer
  /** The 32 bytes that the private key is made from, and the 32 bytes of the public key. */
  readonly secret: Buffer
}

const TYPE = 'ssh-ed25519'

/** Makes a key pair. Takes under a millisecond. */
export function generateSshKeyPair(): SshKeyPair {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const publicBytes = Buffer.from(x as string, 'base64url')
  const secret = Buffer.concat([Buffer.from(d as string, 'base64url'), publicBytes])
  const publicBlob = Buffer.concat([packString(TYPE), packString(publicBytes)])
  return {
    privateKey: toOpenSshPem(publicBlob, publicBytes, secret),
    publicKey: `${TYPE} ${publicBlob.toString('base64')}`,
    publicBlob,
    secret,
  }
}

/** The key pair as Dropbear's server reads a host key from a file: what `dropbearconvert openssh dropbear` makes. */
export function toDropbearHostKey(keyPair: SshKeyPair): Buffer {
  return Buffer.concat([packString(TYPE), packString(keyPair.secret)])
}

/** OpenSSH's PROTOCOL.key: a header, the public key, and the private part padded with 1, 2, 3 … to blocks of 8. */
function toOpenSshPem(publicBlob: Buffer, publicBytes: Buffer, secret: Buffer): string {
  const check = randomBytes(4)
  const parts = [check, check, packString(TYPE), packString(publicBytes), packString(secret), packString('')]
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const padding = Buffer.from(Array.from({ length: (8 - (length % 8)) % 8 }, (_, index) => index + 1))
  const one = Buffer.from([0, 0, 0, 1])
  const file = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    packString('none'), // cipher
    packString('none'), // key derivation
    packString(''),
    one,
    packString(publicBlob),
    packString(Buffer.concat([...parts, padding])),
  ])
  const lines = file.toString('base64').match(/.{1,70}/g) ?? []
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`
}

/** The type of a public key as the protocol sends it: its first string. */
export function keyType(publicBlob: Buffer): string {
  return publicBlob.toString('latin1', 4, 4 + publicBlob.readUInt32BE(0))
}

function packString(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
