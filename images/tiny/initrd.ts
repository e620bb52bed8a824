import { type InitStep, makeDir, mount } from '../guest-parts/init-steps.js'
import type { BootModule } from '../guest-parts/initrd.js'
import { packShellInitrd } from '../guest-parts/shell-initrd.js'
import { packInitrd } from '../guest-parts/syscall-initrd.js'

const ROOT_DEVICE = '/dev/vda'
const CREDENTIALS = '/root/run/credentials/@system'

/** Mounts that a system expects, and the network. */
const PREPARE_ROOT: readonly InitStep[] = [
  mount('proc', '/root/proc', 'proc', ['nosuid', 'nodev']),
  mount('sysfs', '/root/sys', 'sysfs', ['nosuid', 'nodev']),
  mount('tmpfs', '/root/run', 'tmpfs', ['nosuid', 'nodev'], 'mode=755'),
  mount('tmpfs', '/root/tmp', 'tmpfs', ['nosuid', 'nodev'], 'mode=1777'),
  makeDir('/root/dev/pts', 0o755),
  makeDir('/root/dev/shm', 0o1777),
  mount('devpts', '/root/dev/pts', 'devpts', ['nosuid'], 'mode=620,gid=5,ptmxmode=666'),
  mount('tmpfs', '/root/dev/shm', 'tmpfs', ['nosuid', 'nodev'], 'mode=1777'),
  makeDir('/root/run/credentials', 0o700),
  makeDir(CREDENTIALS, 0o700),
  // The values that QEMU's DHCP server gives to the first client. DHCP runs after the SSH server
  // listens, and corrects them if necessary.
  { does: 'set up the network', address: '10.0.2.15', netmask: '255.255.255.0', gateway: '10.0.2.2' },
]

/**
 * Packs the initrd.
 *
 * @param shell busybox of the guest, for architectures other than x86_64; x86_64 uses the faster
 *   program of system calls.
 */
export function buildInitrd(modules: readonly BootModule[], shell: Buffer | undefined): Buffer {
  const plan = { modules, rootDevice: ROOT_DEVICE, prepareRoot: PREPARE_ROOT }
  return shell === undefined
    ? packInitrd(plan)
    : packShellInitrd({ ...plan, busybox: shell, credentialsTo: CREDENTIALS })
}
