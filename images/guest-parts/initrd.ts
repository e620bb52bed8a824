import { type CpioEntry, packCpio } from '../../src/image/cpio.js'
import { assembleSyscallProgram, ENVIRONMENT, KEPT, type Syscall } from './syscall-program.js'

/** Numbers of Linux' x86-64 system calls (arch/x86/entry/syscalls/syscall_64.tbl). */
const SYS = {
  write: 1,
  open: 2,
  close: 3,
  execve: 59,
  chdir: 80,
  mkdir: 83,
  chroot: 161,
  mount: 165,
  finitModule: 313,
} as const
const MS_MOVE = 8192
export const MOUNT_FLAGS = { noSuid: 2, noDev: 4 } as const

/** A module of the RAM disk: in the order in which it is loaded. */
export interface BootModule {
  readonly fileName: string
  readonly content: Buffer
}

export interface InitrdPlan {
  readonly modules: readonly BootModule[]
  /** The device that has the root file system, an ext4, as `/dev/vda`. */
  readonly rootDevice: string
  /** What is done once that is mounted on `/root`, and devices are in `/root/dev`. @default nothing */
  readonly prepareRoot?: readonly Syscall[]
}

/**
 * Packs a RAM disk: the modules that the root disk and the network need, and a program that loads them, mounts the root
 * and hands over to `/sbin/init` on it. It is not compressed: unpacking costs an emulated processor more than reading.
 */
export function packInitrd(plan: InitrdPlan): Buffer {
  const dirs = ['dev', 'root', 'm'].map((path): CpioEntry => ({ path, mode: 0o040755 }))
  return packCpio([
    ...dirs,
    { path: 'dev/console', mode: 0o020600, device: { major: 5, minor: 1 } },
    { path: 'init', mode: 0o100755, content: assembleSyscallProgram(buildInit(plan)) },
    ...plan.modules.map(
      ({ fileName, content }): CpioEntry => ({ path: `m/${fileName}`, mode: 0o100644, content }),
    ),
  ])
}

export function mount(source: string, target: string, type: string, flags: number, data = ''): Syscall {
  return { number: SYS.mount, args: [source, target, type, flags, data] }
}

export function makeDir(path: string, mode: number): Syscall {
  return { number: SYS.mkdir, args: [path, mode] }
}

function buildInit({ modules, rootDevice, prepareRoot = [] }: InitrdPlan): Syscall[] {
  const greeting = Buffer.from('withvm: init\n')
  return [
    { number: SYS.write, args: [1, greeting, greeting.length] },
    ...modules.flatMap(({ fileName }) => loadModule(`/m/${fileName}`)),
    mount('devtmpfs', '/dev', 'devtmpfs', MOUNT_FLAGS.noSuid),
    {
      ...mount(rootDevice, '/root', 'ext4', 0),
      failure: `withvm: the root file system on ${rootDevice} cannot be mounted`,
    },
    mount('/dev', '/root/dev', '', MS_MOVE),
    ...prepareRoot,
    { number: SYS.chdir, args: ['/root'] },
    mount('.', '/', '', MS_MOVE),
    { number: SYS.chroot, args: ['.'] },
    { number: SYS.chdir, args: ['/'] },
    {
      number: SYS.execve,
      args: ['/sbin/init', { strings: ['init'] }, ENVIRONMENT],
      failure: `withvm: /sbin/init on ${rootDevice} cannot be started`,
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
