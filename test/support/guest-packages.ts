import { findProgram } from '../../src/common/find-program.js'
import { takeProcessLock } from '../../src/common/process-lock.js'
import { findPrivilege, installPackages } from '../../src/host/apt-install.js'
import { readDistribution } from '../../src/host/distribution.js'
import { findUefi } from '../../src/host/firmware.js'

/** What only tests of some options need of the host, by the name of the package. */
const NEEDS: Readonly<Record<string, () => Promise<unknown>>> = {
  swtpm: () => findProgram('swtpm'),
  samba: () => findProgram('/usr/sbin/smbd'),
  'tesseract-ocr': () => findProgram('tesseract'),
  ovmf: () => findUefi({ arch: 'x86_64', machine: 'q35', secureBoot: true }).catch(() => undefined),
}

/** Installs the packages that are missing, where that can be done without asking. */
export async function installGuestPackages(): Promise<void> {
  if ((await listMissing()).length === 0 || readDistribution().packageManager !== 'apt') return
  const { env } = process
  const privilege = await findPrivilege(env)
  if (privilege === undefined) return
  const log = (line: string) => void process.stderr.write(`${line}\n`)
  const lock = await takeProcessLock('setup', {
    onWait: () => log('Another set-up is at work; waiting for it …'),
  })
  try {
    const missing = await listMissing()
    if (missing.length > 0) await installPackages(missing, privilege, { env, log })
  } finally {
    await lock.release()
  }
}

async function listMissing(): Promise<string[]> {
  const found = await Promise.all(Object.values(NEEDS).map((find) => find()))
  return Object.keys(NEEDS).filter((_, index) => found[index] === undefined)
}
