import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchVM, type VMError, type VMOptions } from 'withvm'
import { generateSshKeyPair } from '../../src/channel/ssh/keys.js'
import {
  brokenGuest,
  guestOfInitrd,
  print,
  reboot,
  sleepForever,
  tinyKernel,
} from '../support/broken-guest.js'
import { debianInitrd } from '../support/debian-initrd.js'
import { failureOf } from '../support/failure-of.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { stallOncePrinting } from '../support/stall.js'

/** Readiness condition that no guest without SSH meets. */
const NEVER = { ready: /never printed/, ssh: false } as const
/** Longer than each of these failures takes on two busy processors without KVM, far shorter than the limit of a start. */
const SOON_MS = 90_000
/** Longer than the time from the last output of a guest to the end of its QEMU. */
const STALL_MS = 700

/** Returns the evidence with that label, or an empty string. */
function evidence(error: VMError, label: string): string {
  return error.evidence.find((piece) => piece.label.startsWith(label))?.text ?? ''
}

/** Returns the error of a start, which must fail within {@link SOON_MS}. */
async function startFailure(start: Promise<unknown>): Promise<VMError> {
  const startedAt = performance.now()
  const error = await failureOf(start)
  expect(performance.now() - startedAt).toBeLessThan(SOON_MS)
  return error
}

const launchFailure = (options: VMOptions) =>
  startFailure(launchVM({ log: () => {}, tmpdir: folder, ...options }))

/** Runs a command that changes the guest's disk, cuts the power and returns the error of the next start. */
async function startFailureAfter(change: string, options: VMOptions = {}): Promise<VMError> {
  await using vm = await launchVM({ log: () => {}, ...options })
  await vm.ssh(`${change}\nsync`)
  await vm.powerCut()
  return await startFailure(vm.start())
}

/** Folder of guests whose leftovers are not of interest. */
const folder = mkdtempSync(join(tmpdir(), 'wt-'))
/** Failure of a guest whose init does nothing. It takes long to be reported as stuck, so it runs next to the other tests. */
let stuck: Promise<VMError>
beforeAll(async () => {
  const guest = await brokenGuest(folder, [print('Run /init as init process'), sleepForever])
  stuck = failureOf(launchVM({ log: () => {}, tmpdir: folder, ...guest }))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('evidence of a failed start', () => {
  test('a failed start reports the stage, the time since the last console output, the accelerator and the load of the host', async () => {
    const guest = await brokenGuest(ownTmpdir(), [print('Run /init as init process'), sleepForever])
    const error = await launchFailure({ ...guest, ...NEVER, timeouts: { start: '10s' } })
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toMatch(/was not ready after 1[01](\.\d)? s: it stayed in stage 'init' for/)
    expect(error.details.got).toMatch(/^last output on the serial console [\d.]+ m?s ago$/)
    expect(evidence(error, 'Guest').split('\n')).toEqual([
      expect.stringMatching(
        /^kernel-[0-9a-f]{6}: in stage 'init' for [\d.]+ s, last console output [\d.]+ m?s ago$/,
      ),
      expect.stringMatching(/^stages: qemu 0 ms, kernel [\d.]+ m?s, init [\d.]+ s$/),
      expect.stringMatching(/^accelerator: (kvm|tcg)/),
      expect.stringMatching(
        /^host: load [\d.]+ on \d+ processors, [\d.]+ [MG]iB of [\d.]+ [MG]iB memory free$/,
      ),
    ])
    expect(evidence(error, 'Serial console')).toContain('Run /init as init process')
    expect(evidence(error, 'To start the guest by hand')).toContain('-kernel')
  })
})

describe('firmware', () => {
  test('firmware that finds no boot loader on the disk fails the start', async () => {
    const error = await launchFailure({ image: 'tiny', boot: 'c', ...NEVER })
    expect(error.code).toBe('GUEST_FAILED')
    expect(error.details).toMatchObject({
      summary: 'The firmware found nothing to boot.',
      got: 'No bootable device.',
    })
    expect(evidence(error, 'Guest')).toContain("in stage 'bootloader'")
    expect(error.hint).toMatch(/^Check that the image is a bootable disk\./)
  })

  test('firmware that finds nothing to boot on the network fails the start', async () => {
    const error = await launchFailure({ image: 'tiny', boot: 'n', ...NEVER })
    expect(error.code).toBe('GUEST_FAILED')
    expect(error.message).toContain('The firmware found nothing to boot.')
    expect(evidence(error, 'Possible cause')).toMatch(/^Nothing to boot: /)
    expect(error.hint).toMatch(/^Check the files of `netboot`/)
  })
})

describe('kernel', () => {
  test('a kernel without its root device fails the start with its panic', async () => {
    const kernel = await tinyKernel()
    const error = await launchFailure({ kernel, append: 'console=ttyS0 quiet root=/dev/none', ...NEVER })
    expect(error.code).toBe('GUEST_PANICKED')
    expect(error.details.got).toContain('Kernel panic - not syncing: VFS: Unable to mount root fs')
    expect(evidence(error, 'Guest')).toContain("in stage 'kernel'")
    expect(error.hint).toMatch(/^Check `root=` in the kernel arguments/)
  })

  test('a start that fails with a panic is explained by the panic, not by an earlier complaint about the clock', async () => {
    const tmpdir = ownTmpdir()
    const init = [print('tsc: Unable to calibrate against PIT')]
    const error = await launchFailure({ ...(await brokenGuest(tmpdir, init)), ...NEVER, tmpdir })
    expect(error.code).toBe('GUEST_PANICKED')
    expect(error.hint).toMatch(/^Read the lines above the panic for why process 1 exited/)
    expect(evidence(error, 'Possible cause')).toBe('')
  })

  test('a panic after the end of init is reported with the console lines before it', async () => {
    const tmpdir = ownTmpdir()
    const error = await launchFailure({
      ...(await brokenGuest(tmpdir, [print('about to end')])),
      ...NEVER,
      tmpdir,
    })
    expect(error.code).toBe('GUEST_PANICKED')
    expect(error.details.got).toContain('Kernel panic - not syncing: Attempted to kill init!')
    expect(evidence(error, 'Serial console')).toContain('about to end')
    expect(error.hint).toMatch(/^Read the lines above the panic for why process 1 exited/)
    expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  })

  test('a kernel that cannot start the init of its initrd fails the start, and the hint names possible causes', async () => {
    const init = { path: 'init', mode: 0o100755, content: Buffer.from('#!/no/such/interpreter\n') }
    const error = await launchFailure({ ...(await guestOfInitrd(ownTmpdir(), [init])), ...NEVER })
    expect(error.code).toBe('GUEST_PANICKED')
    expect(error.details.got).toContain('No working init found')
    expect(evidence(error, 'Possible cause')).toContain('Failed to execute /init (error -2)')
    expect(error.hint).toContain('do its interpreter and libraries exist?')
  })

  test('a kernel with too little memory, which resets before it prints anything, is reported as a reboot loop', async () => {
    const error = await launchFailure({ image: 'tiny', memory: '32M' })
    expect(error.code).toBe('GUEST_REBOOT_LOOP')
    expect(evidence(error, 'Guest')).toContain("in stage 'kernel'")
    expect(error.hint).toContain('raise `memory` (32 MiB here)')
  })
})

describe('init', () => {
  test('a missing init is named as the possible cause of the panic', async () => {
    const error = await startFailureAfter('mv /usr/sbin/init /usr/sbin/away')
    expect(error.code).toBe('GUEST_PANICKED')
    expect(evidence(error, 'Guest')).toContain("in stage 'init'")
    expect(evidence(error, 'Possible cause')).toBe('withvm: /sbin/init on /dev/vda cannot be started')
    expect(error.hint).toMatch(
      /^Files needed for booting are missing\. Check what the test did to the root disk/,
    )
  })

  test('an initramfs that drops to its shell without the root disk fails the start', async () => {
    const guest = await guestOfInitrd(ownTmpdir(), await debianInitrd())
    const append = `${guest.append} root=/dev/vdz1`
    const error = await launchFailure({ ...guest, append, memory: '256M', ...NEVER })
    expect(error.code).toBe('GUEST_FAILED')
    expect(error.details).toMatchObject({
      summary: 'The guest dropped to its initramfs shell: it did not find its root disk.',
      got: 'ALERT!  /dev/vdz1 does not exist.  Dropping to a shell!',
    })
    expect(evidence(error, 'Guest')).toContain("in stage 'init'")
    expect(evidence(error, 'Serial console')).toContain('Gave up waiting for root file system device.')
    expect(error.hint).toMatch(/^Check `root=`/)
  })

  test('an OOM kill during the boot fails the start', async () => {
    const change = `sed -i '/dropbear -s/i tail /dev/zero' /usr/sbin/init`
    const error = await startFailureAfter(change, { memory: '128M' })
    expect(error.code).toBe('GUEST_FAILED')
    expect(error.details.got).toMatch(/Out of memory: Killed process \d+ \(tail\)/)
    expect(evidence(error, 'Guest')).toContain("in stage 'init'")
    expect(error.hint).toBe('Give the guest more `memory`.')
  })

  test('a guest that halts during the boot fails the start at once', async () => {
    const error = await launchFailure({ ...(await brokenGuest(ownTmpdir(), [reboot('halt')])), ...NEVER })
    expect(error.code).toBe('GUEST_STOPPED')
    expect(error.details.got).toContain('System halted')
  })

  test('a guest that powers off during the boot fails the start at once', async () => {
    const tmpdir = ownTmpdir()
    const guest = await brokenGuest(tmpdir, [reboot('powerOff')])
    const error = await launchFailure({ ...guest, ...NEVER, tmpdir })
    expect(error.code).toBe('GUEST_STOPPED')
    expect(error.message).toContain('The guest powered itself off before it was ready.')
    expect(error.hint).toMatch(/^Check the serial console for the reason\./)
    expect(error.hint).not.toContain('vm.')
    expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  })

  test('a guest that prints the pattern of `ready` and powers off at once counts as ready', async () => {
    const lines = Array.from({ length: 40 }, (_, index) => print(`line ${index}`))
    const tmpdir = ownTmpdir()
    const guest = await brokenGuest(tmpdir, [...lines, print('all done'), reboot('powerOff')])
    const stop = stallOncePrinting(tmpdir, STALL_MS)
    const launch = launchVM({ log: () => {}, tmpdir, ...guest, ready: /^all done$/, ssh: false })
    await using vm = await launch.finally(stop)
    expect(await vm.wait()).toMatchObject({ reason: 'guest-shutdown' })
    await vm.serial.waitFor('reboot: Power down', { timeout: '1s' })
  })

  test('a guest that is reset directly after a panic fails with the panic, not with the reset', async () => {
    const tmpdir = ownTmpdir()
    const guest = await brokenGuest(tmpdir, [])
    const append = 'console=ttyS0 quiet panic=-1'
    const stop = stallOncePrinting(tmpdir, STALL_MS)
    const launch = launchFailure({ tmpdir, ...guest, append, qemuArgs: ['-no-reboot'], ...NEVER })
    const error = await launch.finally(stop)
    expect(error.code).toBe('GUEST_PANICKED')
  })

  test('a guest that resets itself repeatedly is reported as a reboot loop, not as slow', async () => {
    const guest = await brokenGuest(ownTmpdir(), [print('once more'), reboot('restart')])
    const error = await launchFailure({ ...guest, ...NEVER })
    expect(error.code).toBe('GUEST_REBOOT_LOOP')
    expect(error.message).toContain('The guest reset itself 4 times before it was ready.')
    expect(evidence(error, 'Serial console')).toContain('once more')
    expect(error.hint).toMatch(/^Check the serial console before each reset/)
  })
})

// Most of these guests do nothing until a limit, so they run at the same time.
describe.concurrent('network', () => {
  test('a kernel without the driver of its network card fails in the network stage', async () => {
    const error = await launchFailure({ image: 'tiny', append: 'module_blacklist=virtio_net' })
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toContain("it stayed in stage 'network'")
    expect(error.hint).toMatch(/^Build the module virtio_net into the kernel/)
  })

  test('a boot timeout names the network card for which the guest may lack a driver', async () => {
    const error = await launchFailure({ image: 'tiny', network: { model: 'e1000' } })
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toContain("it stayed in stage 'network'")
    expect(error.hint).toMatch(/^Check that the guest's kernel has a driver for its network card, e1000/)
  })

  test('a guest that requests no address is distinguished from a guest without a driver', async () => {
    const error = await startFailureAfter(
      `sed -i '/dropbear -s/i ifconfig eth0 0.0.0.0' /usr/sbin/init; sed -i '/udhcpc/d' /usr/lib/withvm/lease`,
    )
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toContain("it stayed in stage 'network'")
    expect(error.details.got).toMatch(/over SSH: the connection was accepted, then no banner for \d+ s/)
    expect(error.hint).toMatch(/^Check that the guest requests an address over DHCP/)
  })
})

describe.concurrent('SSH server', () => {
  test('a missing SSH server fails the start within the limit of its stage', async () => {
    const error = await startFailureAfter('mv /usr/sbin/dropbear /usr/sbin/away')
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toContain("it stayed in stage 'sshd'")
    expect(error.details.got).toContain('then closed: nothing listens in the guest yet')
    expect(evidence(error, 'Possible cause')).toContain('/run/dropbear: not found')
    expect(error.hint).toBe('Check why the SSH server did not start.')
  })

  test('an SSH server that is not started is detected by its closed port', async () => {
    const error = await startFailureAfter(`sed -i '/dropbear -s/d' /usr/sbin/init`)
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.hint).toMatch(
      /^Start an SSH server in the guest: its network works, but its port 22 is closed\./,
    )
  })

  test('an SSH server that rejects the key fails the start, and the error names the user', async () => {
    const { privateKey } = generateSshKeyPair()
    const error = await launchFailure({ image: 'tiny', ssh: { privateKey } })
    expect(error.code).toBe('SSH_AUTH_FAILED')
    expect(error.message).toContain('the login of root')
    expect(evidence(error, 'Guest')).toContain("in stage 'login'")
    expect(error.hint).toContain('authorized_keys')
  })

  test('a full disk, which prevents the installation of the key, is named as the reason', async () => {
    const fill = [
      ': >/root/.ssh/authorized_keys',
      "fallocate -l $(df -k / | awk 'END { print ($4 - 200) * 1024 }') /large",
      'dd if=/dev/zero of=/rest bs=4k 2>/dev/null || true',
    ]
    const error = await startFailureAfter(fill.join('\n'))
    expect(error.code).toBe('SSH_AUTH_FAILED')
    expect(evidence(error, 'Guest')).toContain("in stage 'login'")
    expect(evidence(error, 'Possible cause')).toContain('No space left on device')
    expect(error.hint).toMatch(/^A file system of the guest is full\. Free space/)
  })

  test('an SSH server with a host key other than the pinned one is rejected', async () => {
    await using vm = await launchVM({ image: 'tiny' })
    await vm.exec('kill $(pidof dropbear); rm -f /etc/dropbear/*; sleep 1; dropbear -R -s -p 22')
    const error = await failureOf(vm.ssh`true`)
    expect(error.code).toBe('SSH_HOST_KEY_CHANGED')
    expect(error.details.expected).toMatch(/^SHA256:/)
    expect(error.details.got).toMatch(/^SHA256:/)
  })
})

test('a guest that does nothing is reported as stuck before the limit of its stage', async () => {
  const { code, details, message } = await stuck
  expect(code).toBe('BOOT_TIMEOUT')
  expect(message).toContain("it stayed in stage 'init'")
  expect(details.got).toMatch(/^no console output, disk I\/O or CPU use for [\d.]+ (s|min)[\d. s]*;/)
})
