import { expect, test } from 'vitest'
import { type BootClue, updateBootClue } from '../../../../src/vm/watch/boot-clues.js'
import { laterStage, stageHint } from '../../../../src/vm/watch/boot-stages.js'
import { findGuestFailure } from '../../../../src/vm/watch/guest-failures.js'

/** Real console lines with their classification. Lines that a test guest can print are in `test/guest/boot-failures.test.ts`. */
test.each([
  ['grub rescue> ', 'its rescue shell', 'GUEST_FAILED'], // grub-pc 2.06, with /boot on a partition that is not there
  [
    '   Minimal BASH-like line editing is supported. For the first word, TAB   ',
    'at its command line',
    'GUEST_FAILED',
  ],
  ['UEFI Interactive Shell v2.2', 'the UEFI firmware found nothing to boot', 'GUEST_FAILED'], // ovmf 2022.11
  ['BdsDxe: No bootable option or device was found.', 'the UEFI firmware found nothing', 'GUEST_FAILED'],
  ['No init found. Try passing init= bootarg.', 'found no init on its root disk', 'GUEST_FAILED'],
  ['(initramfs) ', 'its initramfs shell', 'GUEST_FAILED'],
  ['Generating "/run/initramfs/rdsosreport.txt"', 'its initramfs shell', 'GUEST_FAILED'], // dracut
  ['You are now being dropped into an emergency shell.', 'its initramfs shell', 'GUEST_FAILED'], // mkinitcpio
  [
    'You are in emergency mode. After logging in, type "journalctl -xb" to view',
    'emergency shell',
    'GUEST_FAILED',
  ],
  ['Entering emergency mode. Exit the shell to continue.', 'emergency shell', 'GUEST_FAILED'],
  ['Cannot open access to console, the root account is locked.', 'emergency shell', 'GUEST_FAILED'],
  ['Press Enter for maintenance', 'emergency shell', 'GUEST_FAILED'],
  ['[    2.6] BUG: kernel NULL pointer dereference, address: 0000000000000000', undefined, undefined],
  [
    '[    2.6] BUG: unable to handle page fault for address: ffffb2c900a3d000',
    'reported an oops',
    'GUEST_FAILED',
  ],
  ['[    2.6] Oops: 0002 [#1] PREEMPT SMP NOPTI', 'reported an oops', 'GUEST_FAILED'],
  [
    '[    2.6] general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP',
    'reported an oops',
    'GUEST_FAILED',
  ],
  [
    '[    9.1] ---[ end Kernel panic - not syncing: Fatal exception in interrupt ]---',
    'panicked',
    'GUEST_PANICKED',
  ],
  ['[    9.1] Kernel panic - not syncing: System is deadlocked on memory', 'panicked', 'GUEST_PANICKED'],
  ['[   12.0] reboot: System halted', 'halted', 'GUEST_STOPPED'],
  ['[  OK  ] Reached target Local File Systems.', undefined, undefined],
  ['the words emergency and panic in a log', undefined, undefined],
])('the console line %j is classified', (line, summary, code) => {
  const failure = findGuestFailure(line, 'start')
  expect(failure?.code).toBe(code)
  if (summary !== undefined) expect(failure?.details.summary.toLowerCase()).toContain(summary.toLowerCase())
})

test('a waiting boot loader or firmware ends a start, but not a wait of a test', () => {
  expect(findGuestFailure('grub> ', 'start')).toBeDefined()
  expect(findGuestFailure('grub> ', 'wait')).toBeUndefined()
  expect(findGuestFailure('No bootable device.', 'wait')).toBeUndefined()
})

test('an emergency shell, an oops or an OOM kill ends a start or a wait, and is otherwise not a failure', () => {
  for (const line of ['(initramfs) ', 'Oops: 0002 [#1] SMP', 'Out of memory: Killed process 9 (demo)']) {
    expect(findGuestFailure(line, 'wait')).toBeDefined()
    expect(findGuestFailure(line, 'other')).toBeUndefined()
  }
  expect(findGuestFailure('Kernel panic - not syncing: Fatal exception', 'other')).toBeDefined()
})

const clueOf = (...lines: string[]) => lines.reduce<BootClue | undefined>(updateBootClue, undefined)

test.each([
  ['[FAILED] Failed to mount /data.', /could not be mounted/],
  ['[ TIME ] Timed out waiting for device /dev/disk/by-uuid/0b2f.', /could not be mounted/],
  ['[DEPEND] Dependency failed for Local File Systems.', /could not be mounted/],
  ['[FAILED] Failed to start OpenBSD Secure Shell server.', /^Check why the SSH server did not start/],
  ['sshd: no hostkeys available -- exiting.', /^Check why the SSH server did not start/],
  ['[FAILED] Failed to start Wait for Network to be Configured.', /could not set up its network/],
  ['[FAILED] Failed to start LSB: demo.', /^Check why this service failed/],
  [
    '[   31.2] cloud-init[612]: 2026-11-24 10:00:00,000 - util.py[WARNING]: Failed to run module ssh',
    /cloud-init failed/,
  ],
  ['[FAILED] Failed to start Cloud-init: Network Stage.', /cloud-init failed/],
  ['No DHCPOFFERS received.', /DHCP request of the guest was not answered/],
  ['udhcpc: no lease, failing', /DHCP request of the guest was not answered/],
  ['withvm: network failed: no answer by DHCP', /DHCP request of the guest was not answered/],
  ['PXE-E53: No boot filename received', /^Check the files of `netboot`/],
  ['Failed to load ldlinux.c32', /^Check the files of `netboot`/],
  [
    '[    4.0] EXT4-fs error (device vda1): ext4_lookup:1785: inode #2: comm init: deleted inode',
    /is damaged/,
  ],
  ['/dev/vda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.', /is damaged/],
  ['[    4.0] I/O error, dev vda, sector 2048 op 0x0:(READ)', /could not read its disk/],
  ['[    0.9] Initramfs unpacking failed: write error', /could not unpack the initrd/],
  [
    '/init: error while loading shared libraries: libc.so.6: cannot open shared object file',
    /^Add the missing library/,
  ],
  [
    '[   50.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [swapper/0:1]',
    /not scheduled on a host CPU/,
  ],
  ['[   50.1] rcu: INFO: rcu_preempt self-detected stall on CPU', /not scheduled on a host CPU/],
])('%j is a clue', (line, hint) => {
  expect(clueOf(line)?.hint).toMatch(hint)
})

test('the first clue counts, but any other clue replaces a temporary one', () => {
  const full = 'sh: write error: No space left on device'
  const failed = '[FAILED] Failed to start demo.service.'
  expect(clueOf(full, failed)?.line).toBe(full)
  expect(clueOf('A start job is running for /dev/vdb (5s / 1min 30s)', failed)?.line).toBe(failed)
  const jobs = [
    'A start job is running for one (5s / no limit)',
    'A start job is running for two (9s / no limit)',
  ]
  expect(clueOf(...jobs, 'another line')?.line).toBe(jobs[1])
  expect(clueOf('[  OK  ] Started demo.service.')).toBeUndefined()
  // Kernels print this on every boot on a busy host, and continue.
  expect(clueOf('tsc: Unable to calibrate against PIT', failed)?.line).toBe(failed)
})

test('the hint of a stage names the console of the architecture', () => {
  expect(stageHint('bootloader', 'x86_64')).toContain('`console=ttyS0`')
  expect(stageHint('bootloader', 'aarch64')).toContain('`console=ttyAMA0`')
  expect(stageHint('firmware', 'arm')).toContain('`console=ttyAMA0`')
})

test.each([
  ['qemu', 'GRUB loading.', 'bootloader'],
  ['firmware', 'EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path', 'kernel'],
  ['kernel', 'Begin: Mounting root file system ... Begin: Running /scripts/local-top ... done.', 'init'],
  ['kernel', '[    3.4] dracut-initqueue[290]: Warning: Could not boot.', 'init'],
  ['firmware', 'Welcome to GRUB!', 'bootloader'],
  ['bootloader', 'Welcome to GRUB!', undefined],
  ['bootloader', 'Welcome to Debian GNU/Linux 12 (bookworm)!', 'init'],
  ['init', 'debian login: ', 'network'],
  ['init', 'withvm: sshd', 'network'],
  ['sshd', 'GRUB loading.', undefined],
] as const)('in stage %s, the line %j leads to %s', (stage, line, next) => {
  expect(laterStage(stage, line)).toBe(next)
})
