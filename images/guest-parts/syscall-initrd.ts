import {
  buildAddress,
  buildDefaultRoute,
  buildFlags,
} from '../../src/provisioning/identity-agent/network-requests.js'
import { AGENT_TARGETS } from '../../src/provisioning/identity-agent/target.js'
import type { InitStep, MountStep, NetworkStep } from './init-steps.js'
import { INIT_TEXTS, type InitrdPlan, packInit } from './initrd.js'
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
const MS_MOVE = 8192
const MOUNT_FLAGS = { nosuid: 2, nodev: 4 } as const
/** Requests of include/uapi/linux/sockios.h. */
const IOCTL = { addRoute: 0x890b, setFlags: 0x8914, setAddress: 0x8916, setNetmask: 0x891c } as const
const IFF_UP = 1
const AF_INET = 2
const SOCK_DGRAM = 2
const TARGET = AGENT_TARGETS.x86_64

/**
 * Packs an initrd whose program loads the modules for root disk and network, mounts the root and
 * executes its `/sbin/init`. The program consists of system calls and starts no process. x86-64
 * only.
 */
export function packInitrd(plan: InitrdPlan): Buffer {
  return packInit(assembleSyscallProgram(buildInit(plan)), plan.modules)
}

function buildInit({ modules, rootDevice, prepareRoot = [] }: InitrdPlan): Syscall[] {
  const greeting = Buffer.from(`${INIT_TEXTS.greeting}\n`)
  return [
    { number: SYS.write, args: [1, greeting, greeting.length] },
    ...modules.flatMap(({ fileName }) => loadModule(`/m/${fileName}`)),
    mountCall('devtmpfs', '/dev', 'devtmpfs', MOUNT_FLAGS.nosuid),
    { ...mountCall(rootDevice, '/root', 'ext4', 0), failure: INIT_TEXTS.noRoot(rootDevice) },
    mountCall('/dev', '/root/dev', '', MS_MOVE),
    ...prepareRoot.flatMap(toSyscalls),
    { number: SYS.chdir, args: ['/root'] },
    mountCall('.', '/', '', MS_MOVE),
    { number: SYS.chroot, args: ['.'] },
    { number: SYS.chdir, args: ['/'] },
    {
      number: SYS.execve,
      args: ['/sbin/init', { strings: ['init'] }, ENVIRONMENT],
      failure: INIT_TEXTS.noInit(rootDevice),
    },
  ]
}

function toSyscalls(step: InitStep): Syscall[] {
  switch (step.does) {
    case 'mount':
      return [mountCall(step.source, step.target, step.type, sumFlags(step), step.data)]
    case 'make a directory':
      return [{ number: SYS.mkdir, args: [step.path, step.mode] }]
    case 'set up the network':
      return configureNetwork(step)
  }
}

function sumFlags({ flags }: MountStep): number {
  return flags.reduce((sum, flag) => sum | MOUNT_FLAGS[flag], 0)
}

function mountCall(source: string, target: string, type: string, flags: number, data = ''): Syscall {
  return { number: SYS.mount, args: [source, target, type, flags, data] }
}

/**
 * Failures are not reported here: a later step that needs the module fails, such as the mount of
 * the root.
 */
function loadModule(path: string): Syscall[] {
  return [
    { number: SYS.open, args: [path, 0, 0], keep: true },
    { number: SYS.finitModule, args: [KEPT, '', 0] },
    { number: SYS.close, args: [KEPT] },
  ]
}

function configureNetwork({ address, netmask, gateway }: NetworkStep): Syscall[] {
  return [
    { number: SYS.socket, args: [AF_INET, SOCK_DGRAM, 0], keep: true },
    networkCall(IOCTL.setFlags, buildFlags('lo', IFF_UP, TARGET)),
    networkCall(IOCTL.setAddress, buildAddress('eth0', bytesOf(address), TARGET)),
    networkCall(IOCTL.setNetmask, buildAddress('eth0', bytesOf(netmask), TARGET)),
    networkCall(IOCTL.setFlags, buildFlags('eth0', IFF_UP, TARGET)),
    networkCall(IOCTL.addRoute, buildDefaultRoute(bytesOf(gateway), TARGET)),
    { number: SYS.close, args: [KEPT] },
  ]
}

function bytesOf(address: string): number[] {
  return address.split('.').map(Number)
}

function networkCall(request: number, argument: Buffer): Syscall {
  return { number: SYS.ioctl, args: [KEPT, request, argument] }
}
