import { randomBytes } from 'node:crypto'
import { generateSshKeyPair } from '../../channel/ssh/keys.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { StartOrigin } from './guest-plan.js'
import type { MachineIdentity } from './identity-values.js'

export type { MachineIdentity, MachineKeys } from './identity-values.js'

/**
 * Creates the identity of one machine. A child of a fork keeps the MAC addresses of its parent:
 * children have networks of their own, so equal addresses are harmless. A changed address would cut
 * a guest off that requests a lease at that moment.
 */
export function createIdentity(
  spec: MachineSpec,
  origin: Pick<StartOrigin, 'snapshot' | 'memoryFiles'>,
): MachineIdentity {
  const { fork } = origin.snapshot ?? {}
  if (fork === undefined) return createOwnIdentity(spec, origin)
  const { identity, identityOfChildren, readsHostKey } = fork
  if (identityOfChildren === 'same') return identity
  const own = createOwnIdentity(spec, origin)
  const { keys } = own
  const host = readsHostKey ? keys?.host : identity.keys?.host
  const { mac, furtherMacs } = identity
  return { ...own, mac, furtherMacs, keys: keys && host && { ...keys, host } }
}

/**
 * Creates the identity of a machine that is not a child. The identity agent changes the address of
 * the first card and of cards on a LAN. Other cards of a template and of its clones have the same
 * addresses: each has its own user-mode network, so equal addresses do not meet.
 */
function createOwnIdentity(
  spec: MachineSpec,
  { snapshot, memoryFiles }: Pick<StartOrigin, 'snapshot' | 'memoryFiles'>,
): MachineIdentity {
  const isShared = snapshot !== undefined || memoryFiles !== undefined
  // A card whose address changes while it is up loses its network in many systems.
  const isKept = isShared && (spec.identity === 'shared' || spec.image?.traits.identity === undefined)
  return {
    mac: spec.network.mac ?? (isKept ? sharedMac(0) : randomMac()),
    furtherMacs: spec.furtherNetworks.map(({ mac, link }, index) => {
      if (link !== undefined) return memoryFiles === undefined ? (mac ?? randomMac()) : sharedMac(index + 1)
      return mac ?? (isShared ? sharedMac(index + 1) : randomMac())
    }),
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
export function acceptsKeys(spec: MachineSpec): boolean {
  const { ssh, cloudInit, login } = spec
  const canReceive = credentialTransport(spec) !== undefined || cloudInit !== undefined || login !== undefined
  return canReceive && ssh !== undefined && ssh.login === undefined
}

/** Returns the MAC address of a card of a template and its clones: QEMU's default. */
function sharedMac(index: number): string {
  const last = (FIRST_CARD_BYTE + index) % 0x100
  return `52:54:00:12:34:${last.toString(16).padStart(2, '0')}`
}

/** Last byte of QEMU's default address of the first card. */
const FIRST_CARD_BYTE = 0x56

/** Returns a random MAC address in QEMU's range, as used for `virtio-net-pci,mac=`. */
function randomMac(): string {
  const suffix = [...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
  return `52:54:00:${suffix}`
}
