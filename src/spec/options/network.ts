import type { Socket } from 'node:net'
import type { NetbootOptions } from '../netboot.js'

/** One port of the guest that is reached through a port of this host. */
export interface HostForward {
  /** The port in the guest, 1 to 65535. */
  readonly guest: number
  /** The port of this host, 1 to 65535. @default a free one, see `vm.hostPort()` */
  readonly host?: number
  /** Which kind of port. `'udp'` needs `network.internet`: QEMU drops a closed network's answers. @default 'tcp' */
  readonly protocol?: 'tcp' | 'udp'
  /** The address of this host to listen on. @default '127.0.0.1' */
  readonly bind?: string
}

/** A function that answers a guest: it is called with each connection, and may be `async`. */
export type GuestHandler = (connection: Socket) => unknown

/** An address within the guest's network, and what of this host answers there: one of `command`, `socket`, `tcp` and `handler`. */
export interface GuestForward {
  /** The address and the port that the guest connects to, as `10.0.2.100:80`: an address of the network that nothing else has. */
  readonly address: string
  /** A command of this host, split in words as a shell does and run without one, for each connection: with it as its standard streams. It ends with the guest. @default none */
  readonly command?: string
  /** A unix socket of this host, by its path. @default none */
  readonly socket?: string
  /** A server of this host: a port of 127.0.0.1, or an address and a port, as `127.0.0.1:8080`. @default none */
  readonly tcp?: number | string
  /** A function of the test, as `(connection) => server.emit('connection', connection)` for a server of `node:http`. A guest with one boots cold. @default none */
  readonly handler?: GuestHandler
}

/** A network card of the guest and what is behind it. */
export interface NetworkOptions {
  /**
   * Whether the guest reaches the host's network and the outside. Without it only forwarded ports, TFTP and
   * QEMU's own DHCP work (QEMU: `-netdev user,restrict=`).
   * @default false
   */
  readonly internet?: boolean
  /** The card, as QEMU names the device, such as `e1000` (QEMU: `-device`). @default the architecture's: 'virtio-net-pci', 'virtio-net-ccw' on s390x, … */
  readonly model?: string
  /** The card's name at QEMU's monitor (QEMU: `-device …,id=`). @default none */
  readonly id?: string
  /** The card's slot on the PCI bus, as `0x10` or `10.1` (QEMU: `-device …,addr=`). @default the next that is free */
  readonly address?: string
  /** How many interrupt vectors a virtio card has, 0 for none of its own (QEMU: `-device …,vectors=`). @default QEMU's */
  readonly vectors?: number
  /** The card's address, as `52:54:00:12:34:56` (QEMU: `-device …,mac=`). @default a random one of QEMU's range */
  readonly mac?: string
  /** The card's place in the firmware's boot order, 1 for the first (QEMU: `-device …,bootindex=`). @default none */
  readonly bootIndex?: number
  /**
   * Name of a network that joins the cards of the same name, of all guests of this process. Every local user of this host can read its frames
   * and send others: it is a multicast group of the loopback interface, see docs/security.md. Not supported for the first card, through which
   * the guest is reached (QEMU: `-netdev socket,mcast=`, in place of `vlan`). @default none
   */
  readonly hub?: string
  /**
   * A TAP interface of this host, which is there already and may be used by the user who runs the test: `ip tuntap add dev tap0 mode tap user
   * NAME`. Not for the first card (QEMU: `-netdev tap,ifname=`). @default none
   */
  readonly tap?: string
  /** A folder that the guest reads by TFTP; to boot from it, `netboot` says more (QEMU: `-netdev user,tftp=`). @default none */
  readonly tftp?: string
  /** The file in that folder that the DHCP server names (QEMU: `-netdev user,bootfile=`). @default none */
  readonly bootfile?: string
  /** What answers the guest at addresses of its network, however closed that is (QEMU: `-netdev user,guestfwd=`). @default none */
  readonly guestfwd?: readonly GuestForward[]
  /**
   * A folder of this host that the guest mounts from `//10.0.2.4/qemu` (the fourth address of the network), and may write to; by samba, which
   * has to be installed, and only for one guest at a time (QEMU: `-netdev user,smb=`). @default none
   */
  readonly smb?: string
  /** The network's addresses, as `10.0.2.0/24` (QEMU: `-netdev user,net=`). @default 10.0.2.0/24; 10.0.3.0/24 for the second card, and so on */
  readonly net?: string
  /** The host's address in it (QEMU: `-netdev user,host=`). @default the second of the network, 10.0.2.2 */
  readonly host?: string
  /** The first address that its DHCP server gives (QEMU: `-netdev user,dhcpstart=`). @default the 15th of the network, 10.0.2.15 */
  readonly dhcpstart?: string
  /** The address of its name server (QEMU: `-netdev user,dns=`). @default the third of the network, 10.0.2.3 */
  readonly dns?: string
  /** The name that its DHCP server gives the guest (QEMU: `-netdev user,hostname=`). @default none */
  readonly hostname?: string
  /** The domain that its DHCP server names (QEMU: `-netdev user,domainname=`). @default none */
  readonly domainname?: string
  /** Whether the network has IPv6 too (QEMU: `-netdev user,ipv6=`). @default true */
  readonly ipv6?: boolean
}

/** The network. */
export interface NetworkOptionGroup {
  /** The network card and what is behind it; with a list, several: SSH and `hostfwd` go by the first (QEMU: `-netdev user` and `-device`). @default a card that reaches nothing by itself */
  readonly network?: NetworkOptions | readonly NetworkOptions[]
  /**
   * Boots from the network, before anything else, what the guest is given by DHCP, TFTP and HTTP by its first card: see
   * docs/netboot.md. Without an `image` or `ssh` beside it the guest has no disk, and no SSH server is waited for.
   * @default none
   */
  readonly netboot?: NetbootOptions
  /**
   * Ports of the guest to forward from this host; that of SSH is always forwarded. Every local user of this host can connect to them, see
   * docs/security.md (QEMU: `-netdev user,hostfwd=`). @default none
   */
  readonly hostfwd?: readonly HostForward[]
}
