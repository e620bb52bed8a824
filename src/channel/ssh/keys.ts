import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { unsupportedError } from './unsupported-runtime.js'

/** Ed25519 key pair of a client or a host. */
export interface SshKeyPair {
  /** Private key in OpenSSH format, without a passphrase. */
  readonly privateKey: string
  /** Public key in the format of a public key file: `ssh-ed25519 AAAA…`. */
  readonly publicKey: string
  /** Public key in wire format, to which a host key is pinned. */
  readonly publicBlob: Buffer
  /** 32 bytes of the private key, then 32 bytes of the public key. */
  readonly secret: Buffer
}

const TYPE = 'ssh-ed25519'

/** Length of an Ed25519 key, which is the end of its DER encodings (RFC 8410). */
const KEY_BYTES = 32

/**
 * Generates a key pair in less than a millisecond.
 *
 * @throws {InfrastructureError} SSH_UNSUPPORTED when this runtime has no Ed25519.
 */
export function generateSshKeyPair(): SshKeyPair {
  const { publicKey, privateKey } = generateEd25519()
  const publicBytes = publicKey.subarray(-KEY_BYTES)
  const secret = Buffer.concat([privateKey.subarray(-KEY_BYTES), publicBytes])
  const publicBlob = Buffer.concat([packString(TYPE), packString(publicBytes)])
  return {
    privateKey: toOpenSshPem(publicBlob, publicBytes, secret),
    publicKey: `${TYPE} ${publicBlob.toString('base64')}`,
    publicBlob,
    secret,
  }
}

function generateEd25519(): { readonly publicKey: Buffer; readonly privateKey: Buffer } {
  try {
    // Node.js 20 deadlocks if the garbage collector runs while a generated key is exported as JWK:
    // the export holds the key's lock, and the collected job of its generation waits for that lock.
    return generateKeyPairSync('ed25519', {
      publicKeyEncoding: { type: 'spki', format: 'der' },
      privateKeyEncoding: { type: 'pkcs8', format: 'der' },
    })
  } catch (error) {
    throw unsupportedError(String(error), [TYPE], error)
  }
}

/** Formats a key pair as a host key file of Dropbear, like `dropbearconvert openssh dropbear`. */
export function toDropbearHostKey(keyPair: SshKeyPair): Buffer {
  return Buffer.concat([packString(TYPE), packString(keyPair.secret)])
}

/**
 * Format of OpenSSH's PROTOCOL.key: header, public key, and private part padded with 1, 2, 3 … to
 * blocks of 8 bytes.
 */
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

/** Returns the type of a public key in wire format: its first string. */
export function keyType(publicBlob: Buffer): string {
  return publicBlob.toString('latin1', 4, 4 + publicBlob.readUInt32BE(0))
}

function packString(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
