import type { HttpFault, NetbootFile, NetbootTree } from './netboot.js'

/** Network boot with all defaults filled in. */
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
  /** URL that UEFI firmware boots over HTTP. */
  readonly httpBoot: string | undefined
  readonly once: boolean
  /** If true, the firmware tries the network before any other device. */
  readonly isFirst: boolean
}

/**
 * The QEMU object that captures the guest's network traffic. `maxlen` covers every packet that is
 * evaluated: a DHCP reply of QEMU has 590 bytes with headers, a TFTP request at most 558.
 */
export const CAPTURE_FILTER = { type: 'filter-dump', id: 'wire', netdev: 'net0', maxlen: 640 } as const
