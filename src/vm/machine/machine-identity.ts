import { randomBytes } from 'node:crypto'
import { generateSshKeyPair, type SshKeyPair } from '../../channel/ssh/keys.js'
import type { MachineSpec } from '../../spec/machine-spec.js'

/** SSH keys of one machine, created for it and discarded with it. */
export interface MachineKeys {
  readonly client: SshKeyPair
  readonly host: SshKeyPair
}

/** Values that differ between machines started from the same image. */
export interface MachineIdentity {
  /** MAC address of the network card, for example `52:54:00:12:34:56`. */
  readonly mac: string
  /** MAC addresses of the other network cards, in their order. */
  readonly furtherMacs: readonly string[]
  /** 32 hexadecimal digits. */
  readonly machineId: string
  /** Undefined if the test specifies its own login, or the image accepts no keys from the run. */
  readonly keys: MachineKeys | undefined
}

/** Creates the identity of one machine. */
export function createIdentity(spec: MachineSpec): MachineIdentity {
  return {
    mac: spec.network.mac ?? randomMac(),
    furtherMacs: spec.furtherNetworks.map(({ mac }) => mac ?? randomMac()),
    machineId: randomBytes(16).toString('hex'),
    keys: acceptsKeys(spec) ? { client: generateSshKeyPair(), host: generateSshKeyPair() } : undefined,
  }
}

/**
 * Returns how the guest receives its name and keys at boot. The initrd is used only if it is the
 * image's own.
 */
export function credentialTransport({ image, directBoot }: MachineSpec): 'smbios' | 'initrd' | undefined {
  const transport = image?.traits.credentials
  if (transport === 'initrd') return directBoot?.initrd === image?.directBoot?.initrd ? transport : undefined
  return transport === 'smbios' ? transport : undefined
}

/**
 * Returns true if keys are created: the test specifies no login, and the image accepts keys at boot
 * or through its console.
 */
function acceptsKeys(spec: MachineSpec): boolean {
  const { ssh, cloudInit, login } = spec
  const canReceive = credentialTransport(spec) !== undefined || cloudInit !== undefined || login !== undefined
  return canReceive && ssh !== undefined && ssh.login === undefined
}

/** Returns a random MAC address in QEMU's range, as used for `virtio-net-pci,mac=`. */
function randomMac(): string {
  const suffix = [...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
  return `52:54:00:${suffix}`
}
