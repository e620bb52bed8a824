import { type CpioEntry, packCpio } from '../../src/image/cpio.js'
import { buildAddress, buildDefaultRoute, buildFlags } from '../../src/image/network-requests.js'
import { assembleSyscallProgram, ENVIRONMENT, KEPT, type Syscall } from './syscall-program.js'

/** Numbers of Linux' x86-64 system calls (arch/x86/entry/syscalls/syscall_64.tbl). */
const SYS = {
  write: 1,
  open: 2,
  close: 3,
  ioctl: 16,
  socket: 41,
  execve: 59,
  chdir: 80,
  mkdir: 83,
  chroot: 161,
  mount: 165,
  finitModule: 313,
} as const
const MS_NOSUID = 2
const MS_NODEV = 4
const MS_MOVE = 8192
/** Requests of include/uapi/linux/sockios.h. */
const IOCTL = { addRoute: 0x890b, setFlags: 0x8914, setAddress: 0x8916, setNetmask: 0x891c } as const
const IFF_UP = 1
const AF_INET = 2

/** A module of the RAM disk: in the order in which it is loaded. */
export interface BootModule {
  readonly fileName: string
  readonly content: Buffer
}

/**
 * Packs the RAM disk: the modules that the root disk and the network need, and a program that loads them,
 * mounts what a system expects to be mounted, and hands over to `/sbin/init` on the disk.
 * It is not compressed: unpacking costs an emulated processor more than reading.
 */
export function buildInitrd(modules: readonly BootModule[]): Buffer {
  const dirs = ['dev', 'root', 'm'].map((path): CpioEntry => ({ path, mode: 0o040755 }))
  return packCpio([
    ...dirs,
    { path: 'dev/console', mode: 0o020600, device: { major: 5, minor: 1 } },
    { path: 'init', mode: 0o100755, content: assembleSyscallProgram(buildInit(modules)) },
    ...modules.map(
      ({ fileName, content }): CpioEntry => ({ path: `m/${fileName}`, mode: 0o100644, content }),
    ),
  ])
}

function buildInit(modules: readonly BootModule[]): Syscall[] {
  const greeting = Buffer.from('withvm: init\n')
  return [
    { number: SYS.write, args: [1, greeting, greeting.length] },
    ...modules.flatMap(({ fileName }) => loadModule(`/m/${fileName}`)),
    mount('devtmpfs', '/dev', 'devtmpfs', MS_NOSUID),
    {
      ...mount('/dev/vda', '/root', 'ext4', 0),
      failure: 'withvm: the root file system on /dev/vda cannot be mounted',
    },
    mount('/dev', '/root/dev', '', MS_MOVE),
    mount('proc', '/root/proc', 'proc', MS_NOSUID | MS_NODEV),
    mount('sysfs', '/root/sys', 'sysfs', MS_NOSUID | MS_NODEV),
    mount('tmpfs', '/root/run', 'tmpfs', MS_NOSUID | MS_NODEV, 'mode=755'),
    mount('tmpfs', '/root/tmp', 'tmpfs', MS_NOSUID | MS_NODEV, 'mode=1777'),
    makeDir('/root/dev/pts', 0o755),
    makeDir('/root/dev/shm', 0o1777),
    mount('devpts', '/root/dev/pts', 'devpts', MS_NOSUID, 'mode=620,gid=5,ptmxmode=666'),
    mount('tmpfs', '/root/dev/shm', 'tmpfs', MS_NOSUID | MS_NODEV, 'mode=1777'),
    makeDir('/root/run/credentials', 0o700),
    makeDir('/root/run/credentials/@system', 0o700),
    ...configureNetwork(),
    { number: SYS.chdir, args: ['/root'] },
    mount('.', '/', '', MS_MOVE),
    { number: SYS.chroot, args: ['.'] },
    { number: SYS.chdir, args: ['/'] },
    {
      number: SYS.execve,
      args: ['/sbin/init', { strings: ['init'] }, ENVIRONMENT],
      failure: 'withvm: /sbin/init on /dev/vda cannot be started',
    },
  ]
}

/** A module that cannot be loaded is not reported here: what needs it says so, as the mount of the root. */
function loadModule(path: string): Syscall[] {
  return [
    { number: SYS.open, args: [path, 0, 0], keep: true },
    { number: SYS.finitModule, args: [KEPT, '', 0] },
    { number: SYS.close, args: [KEPT] },
  ]
}

function mount(source: string, target: string, type: string, flags: number, data = ''): Syscall {
  return { number: SYS.mount, args: [source, target, type, flags, data] }
}

function makeDir(path: string, mode: number): Syscall {
  return { number: SYS.mkdir, args: [path, mode] }
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
