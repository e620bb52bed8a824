import { readFile } from 'node:fs/promises'
import { buildSeedDisk } from '../../provisioning/cloud-init-seed.js'
import { buildSmbiosStrings } from '../../provisioning/credentials.js'
import { addCredentials } from '../../provisioning/initrd-credentials.js'
import type { GuestTraits } from '../../spec/base-image.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Workspace } from '../workspace/workspace.js'
import { encodeHostKey } from './host-key.js'
import { credentialTransport, type MachineIdentity, type MachineKeys } from './machine-identity.js'

/** Files through which a guest receives its name and keys at boot. */
export interface CredentialFiles {
  readonly smbios: readonly string[]
  /** The image's initrd with the credentials of the run, if the image receives them that way. */
  readonly initrd: string | undefined
}

/**
 * Writes the keys for a user's `ssh` command, and the credential files that QEMU passes to the
 * guest. Returns the latter.
 */
export async function writeCredentials(
  workspace: Workspace,
  spec: MachineSpec,
  identity: MachineIdentity,
  { isTemplate }: { readonly isTemplate: boolean },
): Promise<CredentialFiles> {
  const { keys } = identity
  const hostKeyFormat = spec.image?.traits.hostKeyFormat
  const transport = credentialTransport(spec)
  if (keys !== undefined) await workspace.write('id_ed25519', keys.client.privateKey)
  if (transport === undefined) return { smbios: [], initrd: undefined }
  const credentials = {
    'system.hostname': Buffer.from(spec.name),
    'system.machine_id': Buffer.from(identity.machineId),
    ...(isTemplate ? { 'withvm.template': Buffer.from('1') } : {}),
    ...(keys === undefined ? {} : keyCredentials(keys, hostKeyFormat)),
  }
  // For every host, because the port may change until QEMU has bound it.
  if (keys !== undefined && hostKeyFormat !== undefined)
    await workspace.write('known_hosts', `* ${keys.host.publicKey}\n`)
  if (transport === 'initrd') {
    const initrd = await readFile(spec.directBoot?.initrd as string)
    await workspace.write('initrd', addCredentials(initrd, credentials))
    return { smbios: [], initrd: workspace.path('initrd') }
  }
  const texts = buildSmbiosStrings(credentials)
  const names = texts.map((_, index) => `smbios-${index}`)
  await Promise.all(texts.map((text, index) => workspace.write(names[index] as string, text)))
  return { smbios: names.map((name) => workspace.path(name)), initrd: undefined }
}

function keyCredentials(keys: MachineKeys, hostKeyFormat: GuestTraits['hostKeyFormat']) {
  const login = { 'ssh.authorized_keys.root': Buffer.from(keys.client.publicKey) }
  if (hostKeyFormat === undefined) return login
  const name = hostKeyFormat === 'dropbear' ? 'withvm.dropbear_host_key' : 'withvm.ssh_host_ed25519_key'
  return { ...login, [name]: encodeHostKey(keys.host, hostKeyFormat) }
}

/**
 * Writes the seed disk for cloud-init. It contains the guest's host key, so no other user can read
 * it.
 */
export async function writeSeedDisk(
  workspace: Workspace,
  { name, cloudInit }: MachineSpec,
  { machineId, keys }: MachineIdentity,
): Promise<string | undefined> {
  if (cloudInit === undefined) return undefined
  const disk = buildSeedDisk(cloudInit, {
    hostName: name,
    instanceId: machineId,
    keys: keys && { client: keys.client.publicKey, host: keys.host },
  })
  await workspace.write('seed.img', disk)
  return workspace.path('seed.img')
}
