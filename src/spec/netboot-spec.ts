import type { HttpFault, NetbootFile, NetbootTree } from './netboot.js'

/** What a guest that boots from the network is given, with nothing left to decide. */
export interface NetbootSpec {
  readonly root: string | undefined
  readonly trees: readonly NetbootTree[]
  readonly files: Readonly<Record<string, NetbootFile>>
  readonly bootfile: string | undefined
  readonly tftpServerName: string | undefined
  readonly http:
    | {
        readonly address: string
        readonly port: number
        readonly faults: Readonly<Record<string, HttpFault>>
      }
    | undefined
  /** The URL that UEFI firmware fetches by itself. */
  readonly httpBoot: string | undefined
  readonly once: boolean
  /** Whether the firmware looks at the network before anything else. */
  readonly isFirst: boolean
}

/**
 * The object of QEMU that writes what passes on the guest's wire. It keeps enough of each packet for what is read from it: a DHCP
 * answer of QEMU has 590 bytes with its headers, a request of TFTP 558 at most.
 */
export const CAPTURE = { type: 'filter-dump', id: 'wire', netdev: 'net0', maxlen: 640 } as const
