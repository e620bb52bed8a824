import { buildAddress, buildDefaultRoute, buildFlags } from '../../src/image/network-requests.js'
import { type BootModule, MOUNT_FLAGS, makeDir, mount, packInitrd } from '../guest-parts/initrd.js'
import { KEPT, type Syscall } from '../guest-parts/syscall-program.js'

/** Numbers of Linux' x86-64 system calls (arch/x86/entry/syscalls/syscall_64.tbl). */
const SYS = { close: 3, ioctl: 16, socket: 41 } as const
/** Requests of include/uapi/linux/sockios.h. */
const IOCTL = { addRoute: 0x890b, setFlags: 0x8914, setAddress: 0x8916, setNetmask: 0x891c } as const
const IFF_UP = 1
const AF_INET = 2

/** Packs the RAM disk, which also mounts all that a system expects to be mounted, and sets up the network. */
export function buildInitrd(modules: readonly BootModule[]): Buffer {
  const { noSuid, noDev } = MOUNT_FLAGS
  return packInitrd({
    modules,
    rootDevice: '/dev/vda',
    prepareRoot: [
      mount('proc', '/root/proc', 'proc', noSuid | noDev),
      mount('sysfs', '/root/sys', 'sysfs', noSuid | noDev),
      mount('tmpfs', '/root/run', 'tmpfs', noSuid | noDev, 'mode=755'),
      mount('tmpfs', '/root/tmp', 'tmpfs', noSuid | noDev, 'mode=1777'),
      makeDir('/root/dev/pts', 0o755),
      makeDir('/root/dev/shm', 0o1777),
      mount('devpts', '/root/dev/pts', 'devpts', noSuid, 'mode=620,gid=5,ptmxmode=666'),
      mount('tmpfs', '/root/dev/shm', 'tmpfs', noSuid | noDev, 'mode=1777'),
      makeDir('/root/run/credentials', 0o700),
      makeDir('/root/run/credentials/@system', 0o700),
      ...configureNetwork(),
    ],
  })
}

/**
 * Raises the loopback and gives the first card what the DHCP server of QEMU's user network gives the first
 * guest that asks. DHCP follows once the SSH server listens, and corrects this where it says otherwise.
 */
function configureNetwork(): Syscall[] {
  return [
    { number: SYS.socket, args: [AF_INET, 2, 0], keep: true },
    networkCall(IOCTL.setFlags, buildFlags('lo', IFF_UP)),
    networkCall(IOCTL.setAddress, buildAddress('eth0', [10, 0, 2, 15])),
    networkCall(IOCTL.setNetmask, buildAddress('eth0', [255, 255, 255, 0])),
    networkCall(IOCTL.setFlags, buildFlags('eth0', IFF_UP)),
    networkCall(IOCTL.addRoute, buildDefaultRoute([10, 0, 2, 2])),
    { number: SYS.close, args: [KEPT] },
  ]
}

function networkCall(request: number, argument: Buffer): Syscall {
  return { number: SYS.ioctl, args: [KEPT, request, argument] }
}
