import { access } from 'node:fs/promises'
import { takeProcessLock } from '../../src/common/locks/process-lock.js'
import { findProgram } from '../../src/common/process/find-program.js'
import { readDistribution } from '../../src/host/distribution.js'
import { findUefi } from '../../src/host/firmware.js'
import { runProgram } from '../../src/host/program.js'
import { findPrivilege, installPackages } from '../../src/host/setup/apt-install.js'
import { findClockLibrary } from './fake-clock.js'

type Needs = Readonly<Record<string, () => Promise<unknown>>>

/** Packages that only some tests need, by name. */
const NEEDS: Needs = {
  libfaketime: async () => findClockLibrary(),
  gdb: () => findProgram('gdb'),
  swtpm: () => findProgram('swtpm'),
  samba: () => findProgram('/usr/sbin/smbd'),
  'tesseract-ocr': () => findProgram('tesseract'),
  ovmf: () => findUefi({ arch: 'x86_64', machine: 'q35', secureBoot: true }).catch(() => undefined),
}

/** Packages that only tests of windows need, with more than a hundred dependencies. */
const WINDOW_NEEDS: Needs = {
  xvfb: () => findProgram('Xvfb'),
  'qemu-system-gui': async () => {
    const { stdout } = await runProgram('qemu-system-x86_64', ['-display', 'help'], { timeoutMs: 15_000 })
    return /^gtk$/m.test(stdout) || undefined
  },
}

/** Installs the packages that guest tests need. */
export const installGuestPackages = () => installMissing(NEEDS)

/** Installs the additional packages that tests of windows need. */
export const installWindowPackages = () => installMissing(WINDOW_NEEDS)

const firmwareFor = (arch: string) => () =>
  findUefi({ arch, machine: 'virt', secureBoot: false }).catch(() => undefined)
const fileAt = (path: string) =>
  access(path).then(
    () => path,
    () => undefined,
  )

/** Packages that guests of other architectures need. */
const ARCHITECTURE_NEEDS: Needs = {
  'qemu-system-arm': () => findProgram('qemu-system-aarch64'),
  'qemu-system-misc': () => findProgram('qemu-system-s390x'),
  'qemu-system-ppc': () => findProgram('qemu-system-ppc64'),
  'qemu-system-sparc': () => findProgram('qemu-system-sparc'),
  'qemu-efi-aarch64': firmwareFor('aarch64'),
  'qemu-efi-arm': firmwareFor('arm'),
  opensbi: () => fileAt('/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin'),
  'u-boot-qemu': () => fileAt('/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf'),
}

/** Installs the packages that guests of other architectures need. */
export const installArchitecturePackages = () => installMissing(ARCHITECTURE_NEEDS)

/** Installs the missing packages if that requires no password. */
async function installMissing(needs: Needs): Promise<void> {
  if ((await listMissing(needs)).length === 0 || readDistribution().packageManager !== 'apt') return
  const { env } = process
  const privilege = await findPrivilege(env)
  if (privilege === undefined) return
  const log = (line: string) => void process.stderr.write(`${line}\n`)
  const lock = await takeProcessLock('setup', {
    onWait: () => log('Another set-up is at work; waiting for it …'),
  })
  try {
    const missing = await listMissing(needs)
    if (missing.length > 0) await installPackages(missing, privilege, { env, log })
  } finally {
    await lock.release()
  }
}

async function listMissing(needs: Needs): Promise<string[]> {
  const found = await Promise.all(Object.values(needs).map((find) => find()))
  return Object.keys(needs).filter((_, index) => found[index] === undefined)
}
