import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchVM, type VMError, type VMOptions } from 'withvm'
import { generateSshKeyPair } from '../../src/channel/ssh/keys.js'
import { act, brokenGuest, guestOfInitrd, print, sleepForEver, tinyKernel } from '../support/broken-guest.js'
import { debianInitrd } from '../support/debian-initrd.js'
import { failureOf } from '../support/failure-of.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { stallOncePrinting } from '../support/stall.js'

/** What a guest without SSH is waited for by. */
const NEVER = { ready: /never printed/, ssh: false } as const
/** Above what each of these takes on two busy processors without KVM, and far below what a start may take in all. */
const SOON_MS = 60_000
/** Longer than it takes from what a guest prints last to the end of its QEMU. */
const STALL_MS = 700

/** The evidence of that name, or an empty text. */
function evidence(error: VMError, label: string): string {
  return error.evidence.find((piece) => piece.label.startsWith(label))?.text ?? ''
}

/** The error of a start that has to fail soon. */
async function startFailure(start: Promise<unknown>): Promise<VMError> {
  const startedAt = performance.now()
  const error = await failureOf(start)
  expect(performance.now() - startedAt).toBeLessThan(SOON_MS)
  return error
}

const launchFailure = (options: VMOptions) =>
  startFailure(launchVM({ log: () => {}, tmpdir: ownTmpdir(), ...options }))

/** Changes the disk of a guest by a command, cuts its power, and gives the error of its next start. */
async function startFailureAfter(change: string, options: VMOptions = {}): Promise<VMError> {
  await using vm = await launchVM({ log: () => {}, ...options })
  await vm.ssh(`${change}\nsync`)
  await vm.powerCut()
  return await startFailure(vm.start())
}

/** A guest that does nothing from its init on: to tell that takes so long that the others go on meanwhile. */
const stuckFolder = mkdtempSync(join(tmpdir(), 'wt-'))
let stuck: Promise<VMError>
beforeAll(async () => {
  const guest = await brokenGuest(stuckFolder, [print('Run /init as init process'), sleepForEver])
  stuck = failureOf(launchVM({ log: () => {}, tmpdir: stuckFolder, ...guest }))
})
afterAll(() => rmSync(stuckFolder, { recursive: true, force: true }))

describe('the evidence', () => {
  test('says the stage, since when the console was silent, the accelerator and the state of this host', async () => {
    const guest = await brokenGuest(ownTmpdir(), [print('Run /init as init process'), sleepForEver])
    const error = await launchFailure({ ...guest, ...NEVER, timeouts: { start: '10s' } })
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toMatch(/was not ready after 1[01](\.\d)? s: it stayed in stage 'init' for/)
    expect(error.details.got).toMatch(/^last output on the serial console [\d.]+ m?s ago$/)
    expect(evidence(error, 'Guest').split('\n')).toEqual([
      expect.stringMatching(/^kernel: in stage 'init' for [\d.]+ s, last console output [\d.]+ m?s ago$/),
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

describe('the firmware', () => {
  test('finds nothing to boot on a disk without a boot loader', async () => {
    const error = await launchFailure({ image: 'tiny', boot: 'c', ...NEVER })
    expect(error.code).toBe('GUEST_FAILED')
    expect(error.details).toMatchObject({
      summary: 'The firmware found nothing to boot.',
      got: 'No bootable device.',
    })
    expect(evidence(error, 'Guest')).toContain("in stage 'bootloader'")
    expect(error.hint).toMatch(/^Check that the image is a bootable disk\./)
  })

  test('finds nothing in the network where nothing is served', async () => {
    const error = await launchFailure({ image: 'tiny', boot: 'n', ...NEVER })
    expect(error.code).toBe('GUEST_FAILED')
    expect(error.message).toContain('The firmware found nothing to boot.')
    expect(evidence(error, 'Possible cause')).toMatch(/^Nothing to boot: /)
    expect(error.hint).toMatch(/^Check the files of `netboot`/)
  })
})

describe('the kernel', () => {
  test('that does not have its root device panics', async () => {
    const kernel = await tinyKernel()
    const error = await launchFailure({ kernel, append: 'console=ttyS0 quiet root=/dev/none', ...NEVER })
    expect(error.code).toBe('GUEST_PANICKED')
    expect(error.details.got).toContain('Kernel panic - not syncing: VFS: Unable to mount root fs')
    expect(evidence(error, 'Guest')).toContain("in stage 'kernel'")
    expect(error.hint).toMatch(/^Check `root=` in the kernel arguments/)
  })

  test('that complained about its clock before it panicked is explained by the panic', async () => {
    const tmpdir = ownTmpdir()
    const init = [print('tsc: Unable to calibrate against PIT')]
    const error = await launchFailure({ ...(await brokenGuest(tmpdir, init)), ...NEVER, tmpdir })
    expect(error.code).toBe('GUEST_PANICKED')
    expect(error.hint).toMatch(/^Read the lines above the panic for why process 1 exited/)
    expect(evidence(error, 'Possible cause')).toBe('')
  })

  test('whose init ends panics, and the lines before the panic are there', async () => {
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

  test('that cannot start the init of its initrd panics, and the hint says why it may be', async () => {
    const init = { path: 'init', mode: 0o100755, content: Buffer.from('#!/no/such/interpreter\n') }
    const error = await launchFailure({ ...(await guestOfInitrd(ownTmpdir(), [init])), ...NEVER })
    expect(error.code).toBe('GUEST_PANICKED')
    expect(error.details.got).toContain('No working init found')
    expect(evidence(error, 'Possible cause')).toContain('Failed to execute /init (error -2)')
    expect(error.hint).toContain('do its interpreter and libraries exist?')
  })

  test('with too little memory resets before it prints anything, and that is a loop', async () => {
    const error = await launchFailure({ image: 'tiny', memory: '32M' })
    expect(error.code).toBe('GUEST_REBOOT_LOOP')
    expect(evidence(error, 'Guest')).toContain("in stage 'kernel'")
    expect(error.hint).toContain('raise `memory` (32 MiB here)')
  })
})

describe('the init', () => {
  test('that is not on the disk any more is named', async () => {
    const error = await startFailureAfter('mv /usr/sbin/init /usr/sbin/away')
    expect(error.code).toBe('GUEST_PANICKED')
    expect(evidence(error, 'Guest')).toContain("in stage 'init'")
    expect(evidence(error, 'Possible cause')).toBe('withvm: /sbin/init on /dev/vda cannot be started')
    expect(error.hint).toMatch(/^Check what the test did to the root disk/)
  })

  test('of an initramfs that does not find the root disk drops to its shell', async () => {
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

  test('that runs out of memory is killed', async () => {
    const change = `sed -i '/dropbear -s/i tail /dev/zero' /usr/sbin/init`
    const error = await startFailureAfter(change, { memory: '128M' })
    expect(error.code).toBe('GUEST_FAILED')
    expect(error.details.got).toMatch(/Out of memory: Killed process \d+ \(tail\)/)
    expect(evidence(error, 'Guest')).toContain("in stage 'init'")
    expect(error.hint).toBe('Give the guest more `memory`.')
  })

  test('that halts is not waited for', async () => {
    const error = await launchFailure({ ...(await brokenGuest(ownTmpdir(), [act('halt')])), ...NEVER })
    expect(error.code).toBe('GUEST_STOPPED')
    expect(error.details.got).toContain('System halted')
  })

  test('that powers off is not waited for', async () => {
    const tmpdir = ownTmpdir()
    const guest = await brokenGuest(tmpdir, [act('powerOff')])
    const error = await launchFailure({ ...guest, ...NEVER, tmpdir })
    expect(error.code).toBe('GUEST_STOPPED')
    expect(error.message).toContain('The guest powered itself off before it was ready.')
    expect(error.hint).toMatch(/^Check the serial console for the reason\./)
    expect(error.hint).not.toContain('vm.')
    expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  })

  test('that prints what `ready` waits for and powers off at once is ready', async () => {
    const lines = Array.from({ length: 40 }, (_, index) => print(`line ${index}`))
    const tmpdir = ownTmpdir()
    const guest = await brokenGuest(tmpdir, [...lines, print('all done'), act('powerOff')])
    const stop = stallOncePrinting(tmpdir, STALL_MS)
    const launch = launchVM({ log: () => {}, tmpdir, ...guest, ready: /^all done$/, ssh: false })
    await using vm = await launch.finally(stop)
    expect(await vm.wait()).toMatchObject({ reason: 'guest-shutdown' })
    await vm.serial.waitFor('reboot: Power down', { timeout: '1s' })
  })

  test('that panics and is reset at once fails by its panic, not by its end', async () => {
    const tmpdir = ownTmpdir()
    const guest = await brokenGuest(tmpdir, [])
    const append = 'console=ttyS0 quiet panic=-1'
    const stop = stallOncePrinting(tmpdir, STALL_MS)
    const launch = launchFailure({ tmpdir, ...guest, append, qemuArgs: ['-no-reboot'], ...NEVER })
    const error = await launch.finally(stop)
    expect(error.code).toBe('GUEST_PANICKED')
  })

  test('that reboots again and again is told from one that is slow', async () => {
    const guest = await brokenGuest(ownTmpdir(), [print('once more'), act('restart')])
    const error = await launchFailure({ ...guest, ...NEVER })
    expect(error.code).toBe('GUEST_REBOOT_LOOP')
    expect(error.message).toContain('The guest reset itself 4 times before it was ready.')
    expect(evidence(error, 'Serial console')).toContain('once more')
    expect(error.hint).toMatch(/^Check the serial console before each reset/)
  })
})

describe('the network', () => {
  test('of a kernel without the driver of its card fails in its own time', async () => {
    const error = await launchFailure({ image: 'tiny', append: 'module_blacklist=virtio_net' })
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toContain("it stayed in stage 'network'")
    expect(error.hint).toMatch(/^Build the module virtio_net into the kernel/)
  })

  test('of a card that is not the usual one names it', async () => {
    const error = await launchFailure({ image: 'tiny', network: { model: 'e1000' } })
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toContain("it stayed in stage 'network'")
    expect(error.hint).toMatch(/^Check that the guest's kernel has a driver for its network card, e1000/)
  })

  test('of a guest that asks for no address is told from one without a driver', async () => {
    const error = await startFailureAfter(
      `sed -i '/dropbear -s/i ifconfig eth0 0.0.0.0' /usr/sbin/init; sed -i '/udhcpc/d' /usr/lib/withvm/lease`,
    )
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toContain("it stayed in stage 'network'")
    expect(error.details.got).toContain('over SSH: the connection was accepted, then no banner for 3 s')
    expect(error.hint).toMatch(/^Check that the guest requests an address over DHCP/)
  })
})

describe('the SSH server', () => {
  test('that is not installed is found out in the time of that stage', async () => {
    const error = await startFailureAfter('mv /usr/sbin/dropbear /usr/sbin/away')
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.message).toContain("it stayed in stage 'sshd'")
    expect(error.details.got).toContain('then closed: nothing listens in the guest yet')
    expect(evidence(error, 'Possible cause')).toContain('/run/dropbear: not found')
    expect(error.hint).toMatch(/^Check why the SSH server did not start\. Check that an SSH server/)
  })

  test('that nobody starts is told by its port, which is closed', async () => {
    const error = await startFailureAfter(`sed -i '/dropbear -s/d' /usr/sbin/init`)
    expect(error.code).toBe('BOOT_TIMEOUT')
    expect(error.hint).toMatch(
      /^Start an SSH server in the guest: its network works, but its port 22 is closed\./,
    )
  })

  test('that does not know the key refuses it, and the error says whose login it was', async () => {
    const { privateKey } = generateSshKeyPair()
    const error = await launchFailure({ image: 'tiny', ssh: { privateKey } })
    expect(error.code).toBe('SSH_AUTH_FAILED')
    expect(error.message).toContain('the login of root')
    expect(evidence(error, 'Guest')).toContain("in stage 'login'")
    expect(error.hint).toContain('authorized_keys')
  })

  test('of a guest whose disk is full does not get its keys, and the disk is named as the reason', async () => {
    const fill = [
      ': >/root/.ssh/authorized_keys',
      "fallocate -l $(df -k / | awk 'END { print ($4 - 200) * 1024 }') /large",
      'dd if=/dev/zero of=/rest bs=4k 2>/dev/null || true',
    ]
    const error = await startFailureAfter(fill.join('\n'))
    expect(error.code).toBe('SSH_AUTH_FAILED')
    expect(evidence(error, 'Guest')).toContain("in stage 'login'")
    expect(evidence(error, 'Possible cause')).toContain('No space left on device')
    expect(error.hint).toMatch(/^Free space in the image or use a larger disk/)
  })

  test('that shows another host key than the pinned one is refused', async () => {
    await using vm = await launchVM({ image: 'tiny' })
    await vm.exec('kill $(pidof dropbear); rm -f /etc/dropbear/*; sleep 1; dropbear -R -s -p 22')
    const error = await failureOf(vm.ssh`true`)
    expect(error.code).toBe('SSH_HOST_KEY_CHANGED')
    expect(error.details.expected).toMatch(/^SHA256:/)
    expect(error.details.got).toMatch(/^SHA256:/)
  })
})

test('a guest that does nothing at all is told as stuck, before the time of its stage is up', async () => {
  const { code, details, message } = await stuck
  expect(code).toBe('BOOT_TIMEOUT')
  expect(message).toContain("it stayed in stage 'init'")
  expect(details.got).toMatch(/^no console output, disk I\/O or CPU use for [\d.]+ (s|min)[\d. s]*;/)
})
