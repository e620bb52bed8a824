import { buildFatDisk } from '../disk/fat-disk.js'
import type { CloudInitSpec } from '../spec/cloud-init.js'

/** Identity that a run adds to the author's cloud-init data. */
export interface SeedIdentity {
  readonly hostName: string
  /** A new value makes cloud-init run its once-per-instance modules. */
  readonly instanceId: string
  /** Keys in the form of public key files. Undefined if the test specifies its own login. */
  readonly keys:
    | {
        readonly client: string
        readonly host: { readonly privateKey: string; readonly publicKey: string }
      }
    | undefined
}

/**
 * Builds the disk for cloud-init's data source NoCloud (see "NoCloud" in its documentation). The
 * author's user data is passed unchanged. Settings of withvm are in `vendor-data`, which user data
 * overrides. The key is in `meta-data`, as on clouds, so cloud-init adds it to the keys of the user
 * data, for the image's default user and for root.
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

/** Accepts all forms that cloud-init accepts: a string with lines, a list, a mapping. */
function listKeys(given: unknown): string[] {
  if (typeof given === 'string') return given.split('\n').filter((line) => line.trim() !== '')
  if (Array.isArray(given)) return given.map(String)
  return typeof given === 'object' && given !== null ? Object.values(given).flat().map(String) : []
}

const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`
