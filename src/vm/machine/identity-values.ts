import type { SshKeyPair } from '../../channel/ssh/keys.js'

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
