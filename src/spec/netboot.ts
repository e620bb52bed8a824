import type { Duration } from '../common/duration.js'

/** A network boot client, as described by its DHCP request. */
export interface NetbootClient {
  /** MAC address of the card, such as `52:54:00:12:34:56`. */
  readonly mac: string
  /** Firmware that sent the request. */
  readonly firmware: 'bios' | 'uefi-x64' | 'uefi-ia32' | 'uefi-arm64' | 'unknown'
  /** UUID of the machine, undefined if the request has none. */
  readonly uuid: string | undefined
}

/** Content of a served file: text, bytes, or a file of the host. */
export type NetbootContent = string | Uint8Array | { readonly path: string }

/**
 * A served file: its content, or a function that returns it for a client. For TFTP, the function is
 * called at the guest's DHCP request, and the guest is paused until it returns. For HTTP, it is
 * called at each request.
 */
export type NetbootFile =
  | NetbootContent
  | ((client: NetbootClient) => NetbootContent | Promise<NetbootContent>)

/** Files from packages of Debian and Ubuntu: boot loaders, a memory test, Debian's installer. */
export type NetbootTree = 'pxelinux' | 'ipxe' | 'grub' | 'memtest' | 'debian-netboot'
export const NETBOOT_TREES: readonly NetbootTree[] = ['pxelinux', 'ipxe', 'grub', 'memtest', 'debian-netboot']

/** Fault to inject into HTTP responses. */
export interface HttpFault {
  /** Responds with this status, 400 to 599, and no file. @default none */
  readonly status?: number | undefined
  /** Delay before the response. @default 0 */
  readonly delay?: Duration | undefined
  /** Maximum rate of the response, bytes per second. @default unlimited */
  readonly bytesPerSecond?: number | undefined
  /** Closes the connection after this many bytes. @default none */
  readonly cutAfter?: number | undefined
  /** Content length to announce, in bytes. @default the length of the file */
  readonly contentLength?: number | undefined
  /** Number of requests that fail. @default all */
  readonly times?: number | undefined
}

/** withvm's HTTP server for network boot. It supports range requests and fault injection. */
export interface NetbootHttp {
  /**
   * Address of the server in the guest's network 10.0.2.0/24, except .2, .3 and .15.
   * @default '10.0.2.80'
   */
  readonly address?: string | undefined
  /** Port of the server. @default 80 */
  readonly port?: number | undefined
  /** Faults to inject, by path. @default none */
  readonly faults?: Readonly<Record<string, HttpFault>> | undefined
}

/** Files and DHCP settings for a guest that boots from the network. */
export interface NetbootOptions {
  /**
   * Folder that is served to the guest over TFTP (QEMU: `-netdev user,tftp=`).
   * @default only `files` and `trees`
   */
  readonly root?: string | undefined
  /**
   * Boot loaders and similar files to serve in addition to `root`. Downloaded from the
   * distribution's packages on first use.
   * @default none
   */
  readonly trees?: readonly NetbootTree[] | undefined
  /** Additional files by path; they replace files of `root` and `trees`. @default none */
  readonly files?: Readonly<Record<string, NetbootFile>> | undefined
  /**
   * Boot file that the DHCP server announces: a path, or a URL for iPXE. Less than 128 bytes (QEMU:
   * `-netdev user,bootfile=`).
   * @default none
   */
  readonly bootfile?: string | undefined
  /**
   * File that UEFI firmware boots over HTTP instead of PXE (UEFI specification, 24.7): a path,
   * which enables `http`, or a URL. Requires `firmware: 'uefi'`. QEMU's DHCP server cannot announce
   * it, so withvm adds a boot option to the guest's UEFI variables.
   * @default none
   */
  readonly httpBoot?: string | undefined
  /**
   * TFTP server name that the DHCP server announces (QEMU: `-netdev user,tftp-server-name=`).
   * @default none
   */
  readonly tftpServerName?: string | undefined
  /**
   * If true, serves the same files over HTTP too. QEMU then starts a process for each connection.
   * @default true if `httpBoot` is a path, else false
   */
  readonly http?: boolean | NetbootHttp | undefined
  /**
   * If true, only the first boot is from the network; later resets and starts boot as without
   * `netboot`.
   * @default false
   */
  readonly once?: boolean | undefined
}
