import { buildFatDisk } from '../disk/fat-disk.js'
import type { CloudInitSpec } from '../spec/cloud-init.js'

/** What a run tells its guest beside what the author does. */
export interface SeedIdentity {
  readonly hostName: string
  /** Another one is another machine, for which cloud-init does all that it does once. */
  readonly instanceId: string
  /** As in public key files. Undefined where the author says how to log in. */
  readonly keys:
    | {
        readonly client: string
        readonly host: { readonly privateKey: string; readonly publicKey: string }
      }
    | undefined
}

/**
 * Builds the disk that cloud-init's data source NoCloud looks for (its documentation, "NoCloud"). The author's user data goes as
 * it is. What is ours is in `vendor-data`, which user data goes before, and the key in `meta-data`, where clouds have it: so it
 * is added to those that user data names, for the image's default user and for root.
 */
export function buildSeedDisk(spec: CloudInitSpec, { hostName, instanceId, keys }: SeedIdentity): Buffer {
  const { userData, networkConfig, metaData } = spec
  const publicKeys = [...listKeys(metaData['public-keys']), ...(keys === undefined ? [] : [keys.client])]
  const meta = {
    'instance-id': instanceId,
    'local-hostname': hostName,
    ...metaData,
    ...(publicKeys.length === 0 ? {} : { 'public-keys': publicKeys }),
  }
  const vendor = {
    disable_root: false,
    ...(keys === undefined
      ? {}
      : { ssh_keys: { ed25519_private: keys.host.privateKey, ed25519_public: `${keys.host.publicKey}\n` } }),
  }
  const files = {
    'meta-data': json(meta),
    'user-data': userData ?? '#cloud-config\n{}\n',
    'vendor-data': `#cloud-config\n${json(vendor)}`,
    ...(networkConfig === undefined ? {} : { 'network-config': networkConfig }),
  }
  const contents = Object.entries(files).map(([name, content]) => [name, Buffer.from(content)] as const)
  return buildFatDisk('CIDATA', Object.fromEntries(contents))
}

/** In each of the forms that cloud-init knows: a text with lines, a list, a mapping. */
function listKeys(given: unknown): string[] {
  if (typeof given === 'string') return given.split('\n').filter((line) => line.trim() !== '')
  if (Array.isArray(given)) return given.map(String)
  return typeof given === 'object' && given !== null ? Object.values(given).flat().map(String) : []
}

const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`
