import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { generateSshKeyPair } from '../../src/channel/ssh/keys.js'
import { act, brokenGuest, print, sleepForEver, tinyKernel } from '../support/broken-guest.js'
import { failureOf } from '../support/failure-of.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

const ready = /never printed/

/** The evidence of that name, or an empty text. */
function evidence(error: { evidence: readonly { label: string; text: string }[] }, label: string): string {
  return error.evidence.find((piece) => piece.label.startsWith(label))?.text ?? ''
}

test('a kernel that panics ends the start at once, with the panic and what came before it', async () => {
  const tmpdir = ownTmpdir()
  const guest = await brokenGuest(tmpdir, [print('about to end')])
  const error = await failureOf(launchVM({ ...guest, ready, ssh: false, tmpdir }))
  expect(error.code).toBe('GUEST_PANICKED')
  expect(error.details.got).toContain('Kernel panic - not syncing: Attempted to kill init!')
  expect(evidence(error, 'Serial console')).toContain('about to end')
  expect(evidence(error, 'Guest')).toMatch(/in stage '(kernel|init)'/)
  expect(evidence(error, 'To start it by hand')).toContain('-kernel')
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a kernel without its root disk panics, and the error says where to look', async () => {
  const tmpdir = ownTmpdir()
  const options = {
    kernel: await tinyKernel(),
    append: 'console=ttyS0 quiet root=/dev/none',
    ready,
    ssh: false,
    tmpdir,
  } as const
  const error = await failureOf(launchVM(options))
  expect(error.code).toBe('GUEST_PANICKED')
  expect(error.message).toContain('VFS: Unable to mount root fs')
  expect(error.hint).toContain('`root=`')
})

test('a guest that halts is not waited for', async () => {
  const tmpdir = ownTmpdir()
  const error = await failureOf(
    launchVM({ ...(await brokenGuest(tmpdir, [act('halt')])), ready, ssh: false, tmpdir }),
  )
  expect(error.code).toBe('GUEST_STOPPED')
  expect(error.details.got).toContain('System halted')
})

test('a guest that powers off before it is ready is not waited for', async () => {
  const tmpdir = ownTmpdir()
  const guest = await brokenGuest(tmpdir, [act('powerOff')])
  const error = await failureOf(launchVM({ ...guest, ready, ssh: false, tmpdir }))
  expect(error.code).toBe('GUEST_STOPPED')
  expect(error.message).toContain('The guest powered itself off.')
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a guest that reboots in a loop is told from one that is slow', async () => {
  const tmpdir = ownTmpdir()
  const guest = await brokenGuest(tmpdir, [print('once more'), act('restart')])
  const error = await failureOf(launchVM({ ...guest, ready, ssh: false, tmpdir }))
  expect(error.code).toBe('GUEST_REBOOT_LOOP')
  expect(error.message).toContain('The guest reset itself 4 times before it was ready.')
  expect(evidence(error, 'Serial console')).toContain('once more')
})

test('a kernel oops or a lack of memory ends a start', async () => {
  const tmpdir = ownTmpdir()
  const line = 'Out of memory: Killed process 17 (demo)'
  const guest = await brokenGuest(tmpdir, [print(line), sleepForEver])
  const error = await failureOf(launchVM({ ...guest, ready, ssh: false, tmpdir }))
  expect(error.code).toBe('GUEST_FAILED')
  expect(error.details.got).toContain(line)
})

test.each([
  ['You are in emergency mode. After logging in, type "journalctl -xb"', 'emergency shell'],
  ['ALERT!  /dev/vda1 does not exist.  Dropping to a shell!', 'initramfs'],
])('a guest that prints %j has failed', async (line, what) => {
  const tmpdir = ownTmpdir()
  const guest = await brokenGuest(tmpdir, [print(line), sleepForEver])
  const error = await failureOf(launchVM({ ...guest, ready, ssh: false, tmpdir }))
  expect(error.code).toBe('GUEST_FAILED')
  expect(error.message).toContain(what)
})

test('a start that takes longer than it was given names the stage and how long the console was silent', async () => {
  const tmpdir = ownTmpdir()
  const guest = await brokenGuest(tmpdir, [print('Run /init as init process'), sleepForEver])
  const error = await failureOf(launchVM({ ...guest, ready, ssh: false, tmpdir, timeouts: { start: '10s' } }))
  expect(error.code).toBe('BOOT_TIMEOUT')
  expect(error.message).toMatch(/was not ready after 10(\.\d)? s: it stayed in stage 'init' for/)
  expect(error.details.got).toMatch(/^the last output on the serial console .* ago$/)
})

test('a disk with nothing to boot is found out by the firmware', async () => {
  const tmpdir = ownTmpdir()
  const error = await failureOf(launchVM({ image: 'tiny', boot: 'c', ready, ssh: false, tmpdir }))
  expect(error.code).toBe('GUEST_FAILED')
  expect(error.message).toContain('The firmware found nothing to boot.')
})

test('a guest without an SSH server is found out in the time of that stage', async () => {
  await using vm = await launchVM({ image: 'tiny' })
  await vm.ssh`mv /usr/sbin/dropbear /usr/sbin/away && sync`
  await vm.powerCut()
  const error = await failureOf(vm.start())
  expect(error.code).toBe('BOOT_TIMEOUT')
  expect(error.message).toContain("it stayed in stage 'sshd'")
  expect(error.hint).toContain('no SSH server answers')
})

test('a key that the guest does not know is refused, and the error says whose login it was', async () => {
  const { privateKey } = generateSshKeyPair()
  const error = await failureOf(launchVM({ image: 'tiny', ssh: { privateKey } }))
  expect(error.code).toBe('SSH_AUTH_FAILED')
  expect(error.message).toContain('the login of root')
})

test('another host key than the pinned one is refused', async () => {
  await using vm = await launchVM({ image: 'tiny' })
  await vm.exec('kill $(pidof dropbear); sleep 1; dropbear -R -s -p 22')
  const error = await failureOf(vm.ssh`true`)
  expect(error.code).toBe('SSH_HOST_KEY_CHANGED')
  expect(error.details.expected).toMatch(/^SHA256:/)
  expect(error.details.got).toMatch(/^SHA256:/)
})
