import type { Duration } from '../common/duration.js'

/** The machine that boots, as it says in its question for an address. */
export interface NetbootClient {
  /** The address of its card, as `52:54:00:12:34:56`. */
  readonly mac: string
  readonly firmware: 'bios' | 'uefi-x64' | 'uefi-ia32' | 'uefi-arm64' | 'unknown'
  /** Its UUID, where it says so. */
  readonly uuid: string | undefined
}

/** What a file has in it: a text, bytes, or what another file of this host has. */
export type NetbootContent = string | Uint8Array | { readonly path: string }

/**
 * What the guest is given under a name. A function is called with who asks: for TFTP when the guest asks for its address,
 * which comes before any file (it stands still until the answer is there); for HTTP at each request of the file.
 */
export type NetbootFile =
  | NetbootContent
  | ((client: NetbootClient) => NetbootContent | Promise<NetbootContent>)

/** What withvm can put into the folder, from the packages of Debian and Ubuntu: boot loaders, a memory test, Debian's installer. */
export type NetbootTree = 'pxelinux' | 'ipxe' | 'grub' | 'memtest' | 'debian-netboot'
export const NETBOOT_TREES: readonly NetbootTree[] = ['pxelinux', 'ipxe', 'grub', 'memtest', 'debian-netboot']

/** What goes wrong with a file by HTTP. */
export interface HttpFault {
  /** Answers with this status and no file, as 404. @default none */
  readonly status?: number
  /** Waits before it answers. @default 0 */
  readonly delay?: Duration
  /** Sends at most this much each second. @default as fast as it goes */
  readonly bytesPerSecond?: number
  /** Cuts the connection behind this many bytes. @default none */
  readonly cutAfter?: number
  /** Says that the file is this long, whatever it is. @default its length */
  readonly contentLength?: number
  /** How many requests it is for. @default all */
  readonly times?: number
}

/** The server for HTTP, of the fixture itself: with ranges, and with faults on request. */
export interface NetbootHttp {
  /** The server's address in the guest's network, 10.0.2.0/24: not .2, .3 or .15. @default '10.0.2.80' */
  readonly address?: string
  /** The port on which the server answers. @default 80 */
  readonly port?: number
  /** What goes wrong, by path. @default nothing */
  readonly faults?: Readonly<Record<string, HttpFault>>
}

/** What a guest that boots from the network is given. */
export interface NetbootOptions {
  /** A folder that the guest reads by TFTP (QEMU: `-netdev user,tftp=`). @default only `files` and `trees` */
  readonly root?: string
  /** Boot loaders and the like, put beside what is in `root`. Fetched from the distribution's packages the first time. @default none */
  readonly trees?: readonly NetbootTree[]
  /** Files beside those of `root` and `trees`, and in place of theirs: by path. @default none */
  readonly files?: Readonly<Record<string, NetbootFile>>
  /** What the DHCP server names to the firmware: a path, or a URL for iPXE (QEMU: `-netdev user,bootfile=`). @default none */
  readonly bootfile?: string
  /**
   * What the firmware fetches by its own HTTP boot (UEFI specification, 24.7), in place of PXE: a path below the folder, which `http`
   * then serves, or a URL. It takes `firmware: 'uefi'`. QEMU's DHCP server names nothing for that, so it is a boot option among the
   * guest's own variables. @default none
   */
  readonly httpBoot?: string
  /** What the DHCP server says that the TFTP server is called (QEMU: `-netdev user,tftp-server-name=`). @default nothing */
  readonly tftpServerName?: string
  /** Whether the guest reaches the same files by HTTP too. QEMU then starts a process for each connection. @default false */
  readonly http?: boolean | NetbootHttp
  /** Boots from the network once: from its next reset or start on, the guest boots as it would without. @default false */
  readonly once?: boolean
}
