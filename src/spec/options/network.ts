import type { Socket } from 'node:net'
import type { NetbootOptions } from '../netboot.js'

/** Forwards a port of the host to a port of the guest. */
export interface HostForward {
  /** Guest port, 1 to 65535. */
  readonly guest: number
  /** Host port, 1 to 65535. @default a free port, returned by `vm.hostPort()` */
  readonly host?: number | undefined
  /**
   * Protocol. `'udp'` requires `network.internet`, because QEMU drops UDP replies from a restricted
   * network.
   * @default 'tcp'
   */
  readonly protocol?: 'tcp' | 'udp' | undefined
  /** IPv4 address of the host to listen on. @default '127.0.0.1' */
  readonly bind?: string | undefined
}

/** Function that is called with each connection from the guest. May be `async`. */
export type GuestHandler = (connection: Socket) => unknown

/**
 * Forwards an address in the guest's network to a host service. Requires exactly one of `command`,
 * `socket`, `tcp` and `handler`.
 */
export interface GuestForward {
  /**
   * Address and port that the guest connects to, such as `10.0.2.100:80`: an unused address of the
   * guest's network.
   */
  readonly address: string
  /**
   * Host command, started for each connection with the connection as stdin and stdout. It is split
   * into words like a shell command, but run without a shell, and ends with the guest.
   * @default none
   */
  readonly command?: string | undefined
  /** Path of a unix socket on the host. @default none */
  readonly socket?: string | undefined
  /**
   * TCP server on the host: a port of 127.0.0.1, or an address and a port such as `127.0.0.1:8080`.
   * @default none
   */
  readonly tcp?: number | string | undefined
  /**
   * Function of the test, for example `(connection) => server.emit('connection', connection)` for a
   * `node:http` server.
   * @default none
   */
  readonly handler?: GuestHandler | undefined
}

/** Network card of the guest and the network that it is connected to. */
export interface NetworkOptions {
  /**
   * If true, the guest can reach the host's network and the internet. If false, only forwarded
   * ports, TFTP and QEMU's DHCP work (QEMU: `-netdev user,restrict=`).
   * @default false
   */
  readonly internet?: boolean | undefined
  /**
   * Model of the card: the name of a QEMU device, such as `e1000` (QEMU: `-device`).
   * @default the architecture's: 'virtio-net-pci', 'virtio-net-ccw' on s390x, …
   */
  readonly model?: string | undefined
  /** Id of the card in QEMU's monitor (QEMU: `-device …,id=`). @default none */
  readonly id?: string | undefined
  /**
   * PCI slot of the card, such as `0x10` or `10.1` (QEMU: `-device …,addr=`).
   * @default the next free one
   */
  readonly address?: string | undefined
  /**
   * Number of MSI-X vectors of a virtio card; 0 disables MSI-X (QEMU: `-device …,vectors=`).
   * @default QEMU's
   */
  readonly vectors?: number | undefined
  /**
   * MAC address of the card, such as `52:54:00:12:34:56` (QEMU: `-device …,mac=`).
   * @default a random address of QEMU's range
   */
  readonly mac?: string | undefined
  /**
   * Position in the firmware's boot order, 1 to 1000, 1 is first (QEMU: `-device …,bootindex=`).
   * @default none
   */
  readonly bootIndex?: number | undefined
  /**
   * Name of a LAN that connects cards of all guests of this process. It is a multicast group on the
   * loopback interface, so every local user can read its frames and inject others, see
   * docs/security.md. Not supported for the first card, which connects the guest to the host (QEMU:
   * `-netdev socket,mcast=`, in place of `vlan`).
   * @default none
   */
  readonly hub?: string | undefined
  /**
   * TAP interface of the host. It must already exist and be usable by the user who runs the test:
   * `ip tuntap add dev tap0 mode tap user NAME`. Not supported for the first card (QEMU: `-netdev
   * tap,ifname=`).
   * @default none
   */
  readonly tap?: string | undefined
  /**
   * Folder that is served to the guest over TFTP. To boot from the network, use `netboot` (QEMU:
   * `-netdev user,tftp=`).
   * @default none
   */
  readonly tftp?: string | undefined
  /**
   * Boot file that the DHCP server announces, relative to `tftp` (QEMU: `-netdev user,bootfile=`).
   * @default none
   */
  readonly bootfile?: string | undefined
  /**
   * Host services at addresses of the guest's network. They also work without `internet` (QEMU:
   * `-netdev user,guestfwd=`).
   * @default none
   */
  readonly guestfwd?: readonly GuestForward[] | undefined
  /**
   * Folder of the host that the guest can mount, read and write as `//10.0.2.4/qemu` (the fourth
   * address of the network). Requires Samba on the host. Only one guest can use it at a time (QEMU:
   * `-netdev user,smb=`).
   * @default none
   */
  readonly smb?: string | undefined
  /**
   * Address range of the network, such as `10.0.2.0/24` (QEMU: `-netdev user,net=`).
   * @default '10.0.2.0/24'; '10.0.3.0/24' for the second card, and so on
   */
  readonly net?: string | undefined
  /**
   * Address of the host in the network (QEMU: `-netdev user,host=`).
   * @default the second address, 10.0.2.2
   */
  readonly host?: string | undefined
  /**
   * First address that the DHCP server assigns (QEMU: `-netdev user,dhcpstart=`).
   * @default the 15th address, 10.0.2.15
   */
  readonly dhcpstart?: string | undefined
  /** Address of the DNS server (QEMU: `-netdev user,dns=`). @default the third address, 10.0.2.3 */
  readonly dns?: string | undefined
  /**
   * Host name that the DHCP server assigns to the guest (QEMU: `-netdev user,hostname=`).
   * @default none
   */
  readonly hostname?: string | undefined
  /**
   * Domain name that the DHCP server announces (QEMU: `-netdev user,domainname=`). @default none
   */
  readonly domainname?: string | undefined
  /** Enables IPv6 in addition to IPv4 (QEMU: `-netdev user,ipv6=`). @default true */
  readonly ipv6?: boolean | undefined
}

/** Network cards, network boot and port forwards. */
export interface NetworkOptionGroup {
  /**
   * Network card, or a list of cards. SSH and `hostfwd` use the first one (QEMU: `-netdev user` and
   * `-device`).
   * @default one card on a restricted user-mode network
   */
  readonly network?: NetworkOptions | readonly NetworkOptions[] | undefined
  /**
   * Boots the guest from the network over DHCP, TFTP and HTTP on its first card, before any other
   * boot device. See docs/netboot.md. Without `image` and `ssh`, the guest has no disk and is not
   * expected to run an SSH server.
   * @default none
   */
  readonly netboot?: NetbootOptions | undefined
  /**
   * Port forwards from the host to the guest, in addition to SSH, which is always forwarded. Every
   * local user can connect to them, see docs/security.md (QEMU: `-netdev user,hostfwd=`).
   * @default none
   */
  readonly hostfwd?: readonly HostForward[] | undefined
}
