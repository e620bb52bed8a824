import type { ParsedKey } from 'ssh2'
import { loadSsh } from './ssh-library.js'

/**
 * Describes the problem of a private key, without revealing parts of the key. Returns undefined for
 * a usable key.
 */
export async function findKeyProblem(key: string | Buffer, passphrase?: string): Promise<string | undefined> {
  const keys = await parseKeys(key, passphrase)
  if (keys instanceof Error) return keys.message
  return keys.every((one) => one.isPrivateKey()) ? undefined : 'a public key'
}

/**
 * Returns the public key of a private key, in the format of a public key file; undefined for an
 * unusable key.
 */
export async function derivePublicKey(
  key: string | Buffer,
  passphrase?: string,
): Promise<string | undefined> {
  const keys = await parseKeys(key, passphrase)
  const [first] = keys instanceof Error ? [] : keys
  return first && `${first.type} ${first.getPublicSSH().toString('base64')}`
}

async function parseKeys(key: string | Buffer, passphrase?: string): Promise<ParsedKey[] | Error> {
  const { utils } = await loadSsh()
  const parsed = utils.parseKey(key, passphrase)
  return parsed instanceof Error || Array.isArray(parsed) ? parsed : [parsed]
}
