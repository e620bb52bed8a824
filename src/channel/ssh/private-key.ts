import { loadSsh } from './ssh-library.js'

/**
 * Describes the problem of a private key, without revealing parts of the key. Returns undefined for
 * a usable key.
 */
export async function findKeyProblem(key: string | Buffer, passphrase?: string): Promise<string | undefined> {
  const { utils } = await loadSsh()
  const parsed = utils.parseKey(key, passphrase)
  if (parsed instanceof Error) return parsed.message
  const keys = Array.isArray(parsed) ? parsed : [parsed]
  return keys.every((one) => one.isPrivateKey()) ? undefined : 'a public key'
}
