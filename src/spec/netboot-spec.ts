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
