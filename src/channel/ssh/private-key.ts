import { loadSsh } from './ssh-library.js'

/** Says what is wrong with a private key; undefined if it can be used. Nothing of the key is in what it says. */
export async function findKeyProblem(key: string | Buffer, passphrase?: string): Promise<string | undefined> {
  const { utils } = await loadSsh()
  const parsed = utils.parseKey(key, passphrase)
  if (parsed instanceof Error) return parsed.message
  const keys = Array.isArray(parsed) ? parsed : [parsed]
  return keys.every((one) => one.isPrivateKey()) ? undefined : 'a public key'
}
